package directory

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/needs"
)

// A footprint is what the process holds.
type footprint struct {
	goroutines, files int
	memory            uint64 // heap in use and stacks, in bytes
}

func measure(t testing.TB) footprint {
	t.Helper()
	runtime.GC()
	runtime.GC() // the second one empties pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), openFiles(t), m.HeapInuse + m.StackInuse}
}

// Two thousand tails of a hundred files that grow all the while cost a handle for each file, and for each tail little more than
// a request of net/http that waits, which is measured beside.
func TestTwoThousandTails(t *testing.T) {
	const tails, files, lines = 2000, 100, 20
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if limit.Cur < 2*tails+500 {
		needs.Skip(t, fmt.Sprintf("RLIMIT_NOFILE is %d: ulimit -n %d", limit.Cur, 2*tails+500))
	}
	idle := footprintOfWaiting(t, tails)

	f := newFixture(t, Config{})
	for i := range files {
		f.write(strconv.Itoa(i), "0\n")
	}
	before := measure(t)
	conns, readers := make([]net.Conn, tails), make([]*bufio.Reader, tails)
	for i := range conns {
		conns[i] = f.rawTail(t, strconv.Itoa(i%files), 0)
		readers[i] = bufio.NewReaderSize(conns[i], 1024)
	}
	for _, r := range readers {
		skipTo(t, r, "0\n")
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		for line := 1; line <= lines; line++ {
			for i := range files {
				f.append(strconv.Itoa(i), strconv.Itoa(line)+"\n")
			}
		}
	})
	for _, r := range readers {
		for line := 1; line <= lines; line++ {
			expectLine(t, r, strconv.Itoa(line)+"\n")
		}
	}
	writer.Wait()

	with := measure(t)
	perTail := int64(with.memory-before.memory) / tails
	t.Logf("a tail: %d bytes, %.2f goroutines, %.2f descriptors; a waiting request: %d bytes, %.2f goroutines", perTail,
		float64(with.goroutines-before.goroutines)/tails, float64(with.files-before.files-2*tails)/tails,
		idle.memory/tails, float64(idle.goroutines)/tails)
	assert.LessOrEqual(t, with.files-before.files, 2*tails+files+5, "sockets of both sides, files, the watcher")
	assert.LessOrEqual(t, perTail, 2*int64(idle.memory)/tails, "bytes, those of net/http most of all")
	assert.LessOrEqual(t, with.goroutines-before.goroutines, idle.goroutines+5, "those of net/http, the watcher")
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	eventually(t, "all tails have ended", func() bool { return f.server.watcher.Followers() == 0 })
}

// expectLine reads the next line of chunked content.
func expectLine(t testing.TB, r *bufio.Reader, want string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		if line[len(line)-2] != '\r' { // the frame of a chunk
			require.Equal(t, want, line)
			return
		}
	}
}

// footprintOfWaiting is what as many requests cost whose handler does nothing but wait.
func footprintOfWaiting(t *testing.T, requests int) footprint {
	f := newFixture(t, Config{})
	base, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	f.url = base
	before := measure(t)
	conns, readers := make([]net.Conn, requests), make([]*bufio.Reader, requests)
	for i := range conns {
		conns[i] = f.rawTail(t, "x", 0)
		readers[i] = bufio.NewReaderSize(conns[i], 1024)
	}
	for _, r := range readers {
		skipTo(t, r, "\r\n")
	}
	with := measure(t)
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	eventually(t, "they end", func() bool { return runtime.NumGoroutine() <= before.goroutines+1 })
	return footprint{with.goroutines - before.goroutines, with.files - before.files, with.memory - before.memory}
}
