package directory

import (
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A clockedWriter keeps the deadlines that are set, and fails after so many bytes, if that is not 0.
type clockedWriter struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
	sent      int64
	fails     int64
	writes    []int64
}

func (c *clockedWriter) SetWriteDeadline(at time.Time) error {
	c.deadlines = append(c.deadlines, at)
	return nil
}

func (c *clockedWriter) Write(b []byte) (int, error) {
	c.writes = append(c.writes, int64(len(b)))
	c.sent += int64(len(b))
	return len(b), nil
}

var errFull = errors.New("full")

func (c *clockedWriter) ReadFrom(src io.Reader) (int64, error) {
	size := src.(*io.LimitedReader).N
	c.writes = append(c.writes, size)
	c.sent += size
	if c.fails > 0 && c.sent > c.fails {
		return 0, errFull
	}
	src.(*io.LimitedReader).N = 0
	return size, nil
}

// However large a file claims to be, its deadline is near, and moves on with what is sent.
func TestPatienceWithSparseFile(t *testing.T) {
	f := newFixture(t, Config{})
	file, err := os.OpenFile(f.write("sparse", ""), os.O_WRONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	size := int64(math.MaxInt64)
	for file.Truncate(size) != nil { // as large as the file system lets it be
		size /= 2
	}
	require.Greater(t, size, int64(1<<40))
	w := &clockedWriter{ResponseRecorder: httptest.NewRecorder(), fails: 10 << 20}
	f.server.ServeHTTP(w, httptest.NewRequest("GET", f.signed("sparse", ""), nil))
	assert.Equal(t, 200, w.Code)
	assert.Len(t, w.writes, 11)
	assert.Len(t, w.deadlines, 12, "one for each MiB, and one for the end")
	for _, at := range w.deadlines {
		assert.WithinDuration(t, time.Now(), at, 2*stretchTime)
	}
}

// The time for what net/http sends at the end is bounded, too, whatever was sent.
func TestDeadlineStaysForTheEnd(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("large", strings.Repeat("x", 100_000))
	for i := range 160 {
		f.write("many/"+strings.Repeat("n", 200)+strconv.Itoa(i), "")
	}
	path := f.write("log", "a")
	for _, more := range []string{"large|", "large|&path", "many|", "many|&archive=zip", "many|&archive=tgz", "log|&tail&tail_offset=0"} {
		name, more, _ := strings.Cut(more, "|")
		w := &clockedWriter{ResponseRecorder: httptest.NewRecorder()}
		request := httptest.NewRequest("GET", f.signed(name, ""), nil)
		if more == "&path" {
			request.Header.Set("Range", "bytes=5-50000")
		} else {
			request.URL.RawQuery += more
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.server.ServeHTTP(w, request)
		}()
		if name == "log" {
			eventually(t, "the tail is at work", func() bool { return f.server.watcher.Followers() == 1 })
			require.NoError(t, os.Remove(path))
		}
		<-ended
		require.NotEmpty(t, w.deadlines, more)
		for _, at := range w.deadlines {
			assert.False(t, at.IsZero(), more)
		}
		require.NotZero(t, w.sent, more)
	}
}

// What the deadline for the end relies on: net/http lifts it before the next request of a connection.
func TestDeadlineIsTakenBack(t *testing.T) {
	base, client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1")
		_, _ = w.Write([]byte("a"))
		control := http.NewResponseController(w)
		assert.NoError(t, control.Flush())
		assert.NoError(t, control.SetWriteDeadline(time.Unix(1, 0)))
	}))
	for range 3 {
		_, body := do(t, client, "GET", base)
		assert.Equal(t, "a", body)
	}
}

func TestPatientWriter(t *testing.T) {
	w := &clockedWriter{ResponseRecorder: httptest.NewRecorder()}
	p := newPatientWriter(w)
	n, err := p.Write(make([]byte, 5<<19))
	require.NoError(t, err)
	assert.Equal(t, 5<<19, n)
	assert.Equal(t, []int64{1 << 20, 1 << 20, 1 << 19}, w.writes)
	m, err := p.ReadFrom(&io.LimitedReader{R: strings.NewReader(""), N: 1 << 20})
	require.NoError(t, err)
	assert.EqualValues(t, 1<<20, m)
	assert.Equal(t, []int64{1 << 19, 1 << 19}, w.writes[3:], "the stretch goes on")
	assert.Len(t, w.deadlines, 5)

	out := httptest.NewRecorder()
	p = newPatientWriter(out)
	m, err = p.ReadFrom(strings.NewReader("less than a MiB"))
	require.NoError(t, err)
	assert.EqualValues(t, 15, m)
	assert.Equal(t, "less than a MiB", out.Body.String())
	n, err = p.Write(nil)
	require.NoError(t, err)
	assert.Zero(t, n)
}

// A client that takes a little now and then, each time before its write has stalled, has used up its time in the end.
func TestPatienceIsUsedUp(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	p := newPatientWriter(nil)
	p.ResponseWriter = connWriter{server}
	p.control = http.NewResponseController(p.ResponseWriter)
	p.bytes, p.time = stretchSize, 200*time.Millisecond
	go func() { _, _ = io.CopyBuffer(io.Discard, &slowReader{client}, make([]byte, 1)) }()
	_, err := p.Write(make([]byte, 1<<20))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

type connWriter struct{ net.Conn }

func (connWriter) Header() http.Header { return http.Header{} }
func (connWriter) WriteHeader(int)     {}

// A slowReader takes a byte each millisecond.
type slowReader struct{ r io.Reader }

func (s *slowReader) Read(b []byte) (int, error) {
	<-time.After(time.Millisecond)
	return s.r.Read(b[:1])
}
