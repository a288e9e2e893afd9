package directory

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A client that reads nothing blocks its own tail, and neither Close nor the tails of others.
func TestTailOfStalledClient(t *testing.T) {
	f := newFixture(t, Config{})
	path := f.write("log", "")
	require.NoError(t, os.Truncate(path, 64<<20)) // more than socket buffers take
	conn := f.rawTail(t, "log", 0)
	eventually(t, "the tail is at work", func() bool { return f.server.watcher.Followers() == 1 })
	f.write("other", "a")
	f.tail(t, "other", "&tail_offset=0").expect("a")
	f.server.Close()
	require.NoError(t, conn.Close())
}

func TestTailGivesUpStalledClient(t *testing.T) {
	f := newFixture(t, Config{StreamingTimeout: 200 * time.Millisecond})
	path := f.write("log", "")
	require.NoError(t, os.Truncate(path, 64<<20))
	conn := f.rawTail(t, "log", 0)
	defer conn.Close()
	answers(t, conn)
	eventually(t, "ends", func() bool { return f.server.watcher.Followers() == 0 })
}

// rawTail sends a request for a tail and reads nothing.
func (f *fixture) rawTail(t testing.TB, path string, offset int) net.Conn {
	t.Helper()
	return f.rawRequest(t, f.signed(path, "&tail&tail_offset="+strconv.Itoa(offset)))
}

func (f *fixture) rawRequest(t testing.TB, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", url[len(f.url):])
	require.NoError(t, err)
	return conn
}

// answers waits for the first byte of an answer, and reads no more.
func answers(t testing.TB, conn net.Conn) {
	t.Helper()
	_, err := io.ReadFull(conn, make([]byte, 1))
	require.NoError(t, err)
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// A thousand tails of ten files need ten handles, one watcher, and leave nothing, whichever way they end.
func TestThousandTails(t *testing.T) {
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	tails := int(min(1000, (limit.Cur-100)/2)) // two sockets each
	oneWay(t, Config{}, func(t *testing.T, f *fixture) {
		for i := range 10 {
			f.write(strconv.Itoa(i), "start\n")
		}
		before := openFiles(t)

		for round := 0; round*tails < 1000; round++ {
			conns := make([]net.Conn, tails)
			for i := range conns {
				conns[i] = f.rawTail(t, strconv.Itoa(i%10), 0)
			}
			readers := make([]*bufio.Reader, tails)
			for i, conn := range conns {
				readers[i] = bufio.NewReader(conn)
				skipTo(t, readers[i], "start\n")
			}
			assert.Equal(t, tails, f.server.watcher.Followers())
			assert.LessOrEqual(t, openFiles(t)-before, 2*tails+10+5, "descriptors besides sockets")
			for i := range 10 {
				f.append(strconv.Itoa(i), "more\n")
			}
			for i := range conns {
				skipTo(t, readers[i], "more\n")
			}
			// Half of them end because the file does, and half because the client goes.
			for i := range 5 {
				require.NoError(t, os.Remove(filepath.Join(f.root, strconv.Itoa(i))))
				f.write(strconv.Itoa(i), "start\n")
			}
			for i := range conns {
				if i%10 < 5 {
					skipTo(t, readers[i], "0\r\n")
				}
				require.NoError(t, conns[i].Close())
			}
			eventually(t, "all tails have ended", func() bool { return f.server.watcher.Followers() == 0 })
		}
		eventually(t, "all descriptors are closed", func() bool { return openFiles(t) <= before })
	})
}

// skipTo reads lines up to one that is wanted.
func skipTo(t testing.TB, r *bufio.Reader, want string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		if line == want {
			return
		}
	}
}
