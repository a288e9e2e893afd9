package directory

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestListing(t *testing.T) {
	f := newFixture(t, Config{})
	for name, size := range map[string]int64{"zero": 0, "b1023": 1023, "b1024": 1024, "B10000": 10000, "mega": 1 << 20,
		"nearly": 1<<20 - 1, "giga": 1 << 30, "tera": 3 << 40, ".hidden": 5, "naïve": 1, "two words": 2,
		"a-name-that-is-longer-than-thirty-five-columns": 10000} {
		path := f.write(name, "")
		require.NoError(t, os.Truncate(path, size))
	}
	layout(t, f.root, map[string]string{"sub/x": "1", "link": "->sub", "broken": "->no/where"})

	resp, body := f.get("/")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "text/plain", resp.Header.Get("Content-Type"))
	assert.Equal(t, strconv.Itoa(len(body)), resp.Header.Get("Content-Length"))
	assert.Equal(t, ""+
		".hidden                                     5B\n"+
		"B10000                                    9.8K\n"+
		"a-name-that-is-longer-than-thirty-five-columns       9.8K\n"+
		"b1023                                    1023B\n"+
		"b1024                                     1.0K\n"+
		"broken                                      8B\n"+
		"giga                                      1.0G\n"+
		"link                                        3B\n"+
		"mega                                      1.0M\n"+
		"naïve                                       1B\n"+
		"nearly                                 1024.0K\n"+
		"sub/                                         -\n"+
		"tera                                      3.0T\n"+
		"two words                                   2B\n"+
		"zero                                        0B\n", body)

	head, none := f.do("HEAD", f.signed("/", ""))
	assert.Equal(t, 200, head.StatusCode)
	assert.EqualValues(t, len(body), head.ContentLength)
	assert.Empty(t, none)
}

func TestListingEmpty(t *testing.T) {
	f := newFixture(t, Config{})
	resp, body := f.get("")
	assert.Equal(t, 200, resp.StatusCode)
	assert.EqualValues(t, 0, resp.ContentLength)
	assert.Empty(t, body)
}

func TestListingOfNullPath(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("file", "x")
	signed := f.signer.InstanceURL(f.url, "app", nil)
	for _, url := range []string{signed, signed + "&tail=", strings.Replace(signed, "&path&", "&path=&", 1) + "&tail="} {
		resp, body := f.do("GET", url)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, "file                                        1B\n", body)
	}
}

func TestListingBounds(t *testing.T) {
	f := newFixture(t, Config{MaxEntries: 3})
	for i := range 3 {
		f.write(strconv.Itoa(i), "")
	}
	resp, body := f.get("/")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Len(t, body, 3*47)
	f.write("one too many", "")
	resp, body = f.get("/")
	assert.Equal(t, 500, resp.StatusCode)
	assert.Equal(t, "Can't serve request due to error: directory has more than 3 entries", body)
}

// Entries come and go while the directory is listed.
func TestListingWhileChanging(t *testing.T) {
	f := newFixture(t, Config{})
	stop := make(chan struct{})
	var changer sync.WaitGroup
	f.write("stays", "")
	changer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := filepath.Join(f.root, "comes"+strconv.Itoa(i%50))
			_ = os.WriteFile(name, nil, 0o600)
			_ = os.Remove(filepath.Join(f.root, "comes"+strconv.Itoa((i+25)%50)))
		}
	})
	for range 200 {
		resp, body := f.get("/")
		assert.Equal(t, 200, resp.StatusCode)
		assert.Contains(t, body, "stays ")
	}
	close(stop)
	changer.Wait()
}

func TestDump(t *testing.T) {
	f := newFixture(t, Config{})
	content := strings.Repeat("0123456789", 100)
	path := f.write("app/data.txt", content)
	modified := time.Date(2013, 11, 21, 2, 13, 20, 0, time.UTC)
	require.NoError(t, os.Chtimes(path, modified, modified))

	resp, body := f.get("/app/data.txt")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, content, body)
	assert.Equal(t, "Thu, 21 Nov 2013 02:13:20 GMT", resp.Header.Get("Last-Modified"))
	assert.Equal(t, "bytes", resp.Header.Get("Accept-Ranges"))
	assert.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))

	url := f.signed("/app/data.txt", "")
	for _, c := range []struct {
		method, header, value string
		status                int
		contentRange, body    string
	}{
		{"GET", "Range", "bytes=5-10", 206, "bytes 5-10/1000", "567890"},
		{"GET", "Range", "bytes=-3", 206, "bytes 997-999/1000", "789"},
		{"GET", "Range", "bytes=10000-", 416, "bytes */1000", "invalid range: failed to overlap\n"},
		{"GET", "If-Modified-Since", "Thu, 21 Nov 2013 02:13:20 GMT", 304, "", ""},
		{"HEAD", "Accept", "*/*", 200, "", ""},
	} {
		resp, body := f.do(c.method, url, c.header, c.value)
		assert.Equal(t, c.status, resp.StatusCode, c.value)
		assert.Equal(t, c.contentRange, resp.Header.Get("Content-Range"), c.value)
		assert.Equal(t, c.body, body, c.value)
	}
	resp, body = f.do("GET", url, "Range", "bytes=0-1,4-5")
	assert.Equal(t, 206, resp.StatusCode)
	assert.Contains(t, resp.Header.Get("Content-Type"), "multipart/byteranges")
	assert.Contains(t, body, "45")
	resp, body = f.do("GET", f.signed("/app/data.txt", "&tail_offset=990"))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, content, body, "tail_offset without tail")
}

// What an app writes must not run as a page of the platform's domain.
func TestDumpIsHarmless(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "<html><script>alert(1)</script>")
	resp, _ := f.get("/log")
	assert.Equal(t, "sandbox", resp.Header.Get("Content-Security-Policy"))
	assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
}

func TestPathsWithinTheRoot(t *testing.T) {
	f := newFixture(t, Config{})
	layout(t, f.root, map[string]string{"logs/a": "a", "inner": "->logs"})
	for _, path := range []string{"//logs//a", "/./logs/./a", "/logs/../logs/a", "/logs/", "/inner", "/inner/a", "logs/a", "/inner/../inner/a"} {
		resp, _ := f.get(path)
		assert.Equal(t, 200, resp.StatusCode, path)
	}
}

func TestRefusals(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("logs/a", "a")
	f.write("../rootless/file", "secret")
	layout(t, f.root, map[string]string{"etc": "->/etc"})
	require.NoError(t, unix.Mkfifo(filepath.Join(f.root, "fifo"), 0o644))
	for _, c := range []struct {
		path   string
		status int
		text   string
	}{
		{"/no", 404, "Entity not found"}, {"/logs/a/b", 404, "Entity not found"}, {"/..", 403, "Not accessible"},
		{"/../rootless/file", 403, "Not accessible"}, {"/etc/passwd", 403, "Not accessible"}, {"/fifo", 403, "Not accessible"},
	} {
		for _, more := range []string{"", "&tail"} {
			resp, body := f.do("GET", f.signed(c.path, more))
			assert.Equal(t, c.status, resp.StatusCode, c.path)
			assert.Equal(t, fmt.Sprintf(`{"error":%q}`, c.text), body, c.path)
		}
	}
	resp, body := f.do("GET", f.signed("/logs/a", "")+"0")
	assert.Equal(t, 401, resp.StatusCode)
	assert.Equal(t, `{"error":"Invalid HMAC"}`, body)
}

func TestMethods(t *testing.T) {
	f := newFixture(t, Config{})
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		resp, _ := f.do(method, f.signed("/", ""))
		assert.Equal(t, 405, resp.StatusCode, method)
		assert.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	}
}

// Clients send their token along with the redirected request.
func TestAuthorizationIsIgnored(t *testing.T) {
	var log bytes.Buffer
	f := newFixture(t, Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	f.registry.instances["odd"] = Tree{Dir: "/a", ContainerRoot: "/b"} // makes an error that is logged
	f.write("a", "a")
	resp, body := f.do("GET", f.signed("/a", ""), "Authorization", "bearer of-bad-news")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "a", body)
	resp, body = f.do("GET", f.signer.InstanceURL(f.url, "odd", nil), "Authorization", "bearer of-bad-news")
	assert.Equal(t, 500, resp.StatusCode)
	assert.Equal(t, "Internal Server Error\n", body)
	assert.Contains(t, log.String(), "/instance_paths/odd")
	assert.NotContains(t, log.String(), "bearer")
	assert.NotContains(t, log.String(), "hmac")
}

func TestServerConfig(t *testing.T) {
	for _, cfg := range []Config{{}, {Resolver: &Local{}, StreamingTimeout: -1}, {Resolver: &Local{}, MaxEntries: -1},
		{Resolver: &Local{}, MaxArchive: -1}, {Resolver: &Local{}, Archives: -1}} {
		_, err := NewServer(cfg)
		assert.Error(t, err, "%+v", cfg)
	}
}
