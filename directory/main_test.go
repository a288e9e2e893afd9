package directory

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "0123456789abcdef0123456789abcdef"

// A registry is a Lookup that a test fills.
type registry struct {
	mu               sync.Mutex
	instances, tasks map[string]Tree // a zero Tree is unavailable
}

func (g *registry) Instance(_ context.Context, id string) (Tree, error) {
	return g.find(g.instances, id)
}

func (g *registry) StagingTask(_ context.Context, id string) (Tree, error) {
	return g.find(g.tasks, id)
}

func (g *registry) find(m map[string]Tree, id string) (Tree, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	tree, ok := m[id]
	if !ok {
		return tree, ErrUnknown
	}
	if tree == (Tree{}) {
		return tree, ErrUnavailable
	}
	return tree, nil
}

func (g *registry) endInstance(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.instances, id)
}

func (g *registry) endTask(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tasks, id)
}

// A fixture is a directory server for one instance, "app", with the directory root.
type fixture struct {
	t        testing.TB
	root     string
	registry *registry
	signer   *Signer
	local    *Local
	server   *Server
	url      string
	client   *http.Client
}

func newFixture(t testing.TB, cfg Config) *fixture {
	t.Helper()
	f := &fixture{t: t, root: filepath.Join(realTempDir(t), "root")}
	require.NoError(t, os.Mkdir(f.root, 0o755))
	f.registry = &registry{instances: map[string]Tree{"app": {Dir: f.root}}, tasks: map[string]Tree{}}
	var err error
	f.signer, err = NewSigner(SignerConfig{Keys: []string{testKey}})
	require.NoError(t, err)
	f.local = NewLocal(f.signer, f.registry)
	if cfg.Resolver == nil {
		cfg.Resolver = f.local
	}
	f.server, err = NewServer(cfg)
	require.NoError(t, err)
	f.url, f.client = serve(t, f.server)
	t.Cleanup(f.server.Close)
	return f
}

// realTempDir is a temporary directory whose path has no links.
func realTempDir(t testing.TB) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return dir
}

// serve runs a handler on loopback; the client follows no redirects.
func serve(t testing.TB, h http.Handler) (string, *http.Client) {
	s := httptest.NewServer(h)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Close()
	})
	return s.URL, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (f *fixture) write(name, content string) string {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

func (f *fixture) append(name, content string) {
	f.t.Helper()
	file, err := os.OpenFile(filepath.Join(f.root, name), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(f.t, err)
	_, err = file.WriteString(content)
	require.NoError(f.t, err)
	require.NoError(f.t, file.Close())
}

// signed returns a signed URL of the instance, with more parameters.
func (f *fixture) signed(path, more string) string {
	return f.signer.InstanceURL(f.url, "app", &path) + more
}

// do sends a request and returns the answer with its body read.
func (f *fixture) do(method, url string, header ...string) (*http.Response, string) {
	f.t.Helper()
	return do(f.t, f.client, method, url, header...)
}

func (f *fixture) get(path string) (*http.Response, string) {
	f.t.Helper()
	return f.do("GET", f.signed(path, ""))
}

func do(t testing.TB, client *http.Client, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// eventually polls, for what another goroutine does.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, 5*time.Millisecond, what)
}
