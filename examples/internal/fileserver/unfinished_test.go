package fileserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/directory"
)

// A fixture is a server of a directory, whose log is read after end.
type fixture struct {
	t      *testing.T
	dir    string
	log    bytes.Buffer
	signer *directory.Signer
	server *Server
	addr   string
	stop   context.CancelFunc
	done   chan struct{}
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, dir: t.TempDir(), done: make(chan struct{})}
	var err error
	f.signer, err = directory.NewSigner(directory.SignerConfig{})
	require.NoError(t, err)
	files, err := directory.NewServer(directory.Config{Resolver: directory.Static(f.signer, directory.Tree{Dir: f.dir}), StreamingTimeout: time.Second})
	require.NoError(t, err)
	f.server = New(files, slog.New(slog.NewTextHandler(&f.log, nil)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f.addr = l.Addr().String()
	var ctx context.Context
	ctx, f.stop = context.WithCancel(context.Background())
	go func() { defer close(f.done); assert.NoError(t, f.server.Run(ctx, l)) }()
	t.Cleanup(func() { f.end() })
	return f
}

// end ends the server, and returns what it has logged.
func (f *fixture) end() string {
	f.stop()
	<-f.done
	return f.log.String()
}

// begin asks for a file, and reads the first byte of the answer.
func (f *fixture) begin(path, more string) net.Conn {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.addr)
	require.NoError(f.t, err)
	_, err = fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: x\r\n\r\n", f.signer.SignedPath("/files", &path), more)
	require.NoError(f.t, err)
	_, err = io.ReadFull(conn, make([]byte, 1))
	require.NoError(f.t, err)
	return conn
}

func (f *fixture) unfinished(reason string) float64 {
	counts := &f.server.access.counts
	counts.mu.Lock()
	defer counts.mu.Unlock()
	return counts.unfinished[reason]
}

func (f *fixture) large() {
	file := filepath.Join(f.dir, "large")
	require.NoError(f.t, os.WriteFile(file, nil, 0o600))
	require.NoError(f.t, os.Truncate(file, 100<<20))
}

// Who ended an answer before its end is counted, and stands in the log.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.large()
	require.NoError(t, os.WriteFile(filepath.Join(f.dir, "log"), []byte("one\n"), 0o600))
	for i, more := range []string{"", "&tail&tail_offset=0"} {
		require.NoError(t, f.begin("large", more).Close())
		require.Eventually(t, func() bool { return f.unfinished(client) == float64(i+1) }, 10*time.Second, 5*time.Millisecond)
	}
	conn := f.begin("log", "&tail")
	_, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return f.unfinished(idle) == 1 }, 10*time.Second, 5*time.Millisecond)
	tail := f.begin("log", "&tail")
	defer tail.Close()
	log := f.end()
	assert.EqualValues(t, 1, f.unfinished(closed))
	for _, line := range []string{
		`file=large tail=false status=200 bytes=\d+ complete=false .* type=.* reason=client`, `file=large tail=true status=200 bytes=\d+ complete=false .* reason=client`,
		`file=log tail=true status=200 bytes=0 complete=false .* reason=idle`, `file=log tail=true status=200 bytes=0 complete=false .* reason=closed`,
	} {
		assert.Regexp(t, line, log)
	}
}

// A download that outlasts the time that a server has to end.
func TestDownloadThatIsCutOff(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.large()
	conn := f.begin("large", "")
	defer conn.Close()
	assert.Regexp(t, `status=200 bytes=\d+ complete=false .* reason=closed`, f.end())
	assert.EqualValues(t, 1, f.unfinished(closed))
}

// The line of a refusal says what the client is not told; that of an archive, what it is.
func TestReasonsAndTypes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.NoError(t, os.Symlink("/etc", filepath.Join(f.dir, "link")))
	httpClient := &http.Client{Transport: &http.Transport{}}
	defer httpClient.CloseIdleConnections()
	ask := func(path, more string) int {
		response, err := httpClient.Get("http://" + f.addr + f.signer.SignedPath("/files", &path) + more)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	assert.Equal(t, 403, ask("link/passwd", ""))
	assert.Equal(t, 200, ask("", "&archive=zip"))
	assert.Equal(t, 400, ask("", "&archive=rar"))
	require.NoError(t, os.RemoveAll(f.dir))
	assert.Equal(t, 404, ask("", ""))
	log := f.end()
	for _, line := range []string{
		`level=WARN msg=directory.request .* status=403 .* complete=true .* reason="Not accessible: .*leads out of the directory"`,
		`level=INFO msg=directory.request .* status=200 .* complete=true .* type=application/zip\n`,
		`level=INFO msg=directory.request .* status=400 .* reason="archive must be zip or tgz"`,
		`level=WARN msg=directory.request .* status=404 .* reason="Entity not found: the directory of the instance or task: file does not exist"`,
	} {
		assert.Regexp(t, line, log)
	}
	assert.Zero(t, f.unfinished(client))
}

// A file that becomes shorter while it is sent has no end that was announced.
func TestFileThatShrinks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.large()
	conn := f.begin("large", "")
	require.NoError(t, os.Truncate(filepath.Join(f.dir, "large"), 1))
	var read sync.WaitGroup
	read.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	require.Eventually(t, func() bool { return f.unfinished(failed) == 1 }, 10*time.Second, 5*time.Millisecond)
	f.end()
	read.Wait()
	require.NoError(t, conn.Close())
}
