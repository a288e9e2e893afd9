package fileserver

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One instance, "app", is all there is.
type lookup struct{ dir string }

func (l lookup) Instance(context.Context, string) (directory.Tree, error) {
	return directory.Tree{Dir: l.dir}, nil
}

func (l lookup) StagingTask(context.Context, string) (directory.Tree, error) {
	return directory.Tree{}, directory.ErrUnknown
}

// What is logged of a query is what the server makes of it, in any form that a client or a router gives it.
func TestQueriesOfAllForms(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a b"), []byte("content"), 0o600))
	signer, err := directory.NewSigner(directory.SignerConfig{})
	require.NoError(t, err)
	var text bytes.Buffer // read when nobody writes any more
	files, err := directory.NewServer(directory.Config{Resolver: directory.NewLocal(signer, lookup{dir})})
	require.NoError(t, err)
	s := New(files, slog.New(slog.NewTextHandler(&text, nil)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { assert.NoError(t, s.Run(ctx, l)) })

	path := "a b"
	signed := signer.InstanceURL("http://"+l.Addr().String(), "app", &path)
	client := &http.Client{Transport: &http.Transport{}}
	for _, target := range []string{signed, strings.ReplaceAll(signed, "&", ";"), signed + ";x=%zz", signed + "&tail_offset=x;tail"} {
		response, err := client.Get(target)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		if !strings.HasSuffix(target, "tail") {
			assert.Equal(t, "content", string(body), target)
		}
	}
	client.CloseIdleConnections()
	end()
	running.Wait()
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	require.Len(t, lines, 4)
	for i, line := range lines {
		assert.Contains(t, line, `msg=directory.request method=GET path=/instance_paths/app file="a b"`)
		assert.Equal(t, i == 3, strings.Contains(line, "tail=true status=500"), line)
		assert.NotContains(t, line, "hmac")
	}
	assert.Len(t, s.Metrics(), 5)
	assert.Equal(t, map[string]float64{"client": 0, "idle": 0, "closed": 0, "failed": 0}, s.access.counts.unfinished)
	assert.Empty(t, (*Server)(nil).Metrics())
}

// A fileSink takes what can be sent by sendfile: pieces of an open file.
type fileSink struct {
	*httptest.ResponseRecorder
	sent int64
}

func (s *fileSink) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(s.ResponseRecorder, src)
	if piece, ok := src.(*io.LimitedReader); ok {
		if _, ok := piece.R.(*os.File); ok {
			s.sent += n
		}
	}
	return n, err
}

// What stands between net/http and a large file hides neither from the other.
func TestSendfileIsKept(t *testing.T) {
	const size = 5 << 19
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "large"), make([]byte, size), 0o600))
	signer, err := directory.NewSigner(directory.SignerConfig{})
	require.NoError(t, err)
	files, err := directory.NewServer(directory.Config{Resolver: directory.NewLocal(signer, lookup{dir})})
	require.NoError(t, err)
	defer files.Close()
	s := New(files, slog.New(slog.DiscardHandler))
	path := "large"
	for header, want := range map[string]int64{"": size, "bytes=7-": size - 7} {
		request := httptest.NewRequest("GET", signer.InstanceURL("", "app", &path), nil)
		if header != "" {
			request.Header.Set("Range", header)
		}
		sink := &fileSink{ResponseRecorder: httptest.NewRecorder()}
		s.access.ServeHTTP(sink, request)
		assert.Equal(t, want, sink.sent)
		assert.EqualValues(t, want, sink.Body.Len())
	}
}
