package directory

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/needs"
)

// outcome serves one request and returns what is known of it.
func (f *fixture) outcome(target string) (*httptest.ResponseRecorder, error) {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	ctx, o := WithOutcome(r.Context())
	w := httptest.NewRecorder()
	f.server.ServeHTTP(w, r.WithContext(ctx))
	return w, o.Err
}

// The client is told "Not accessible" of all of these, and who runs the server why.
func TestOutcome(t *testing.T) {
	var log bytes.Buffer
	f := newFixture(t, Config{Logger: logTo(&log)})
	f.write("file", "content")
	layout(t, f.root, map[string]string{"out": "->/etc"})
	require.NoError(t, unix.Mkfifo(filepath.Join(f.root, "fifo"), 0o644))
	f.registry.instances["gone"] = Tree{Dir: filepath.Join(f.root, "gone")}
	f.registry.instances["odd"] = Tree{Dir: "relative/dir"}

	w, err := f.outcome(f.signed("/file", ""))
	assert.Equal(t, 200, w.Code)
	assert.NoError(t, err)
	for path, why := range map[string]string{
		"/out/passwd": "leads out of the directory", "/../x": "leads out of the directory", "/fifo": "neither a file nor a directory",
	} {
		w, err = f.outcome(f.signed(path, ""))
		assert.JSONEq(t, `{"error":"Not accessible"}`, w.Body.String())
		assert.ErrorIs(t, err, ErrNotAccessible, path)
		assert.ErrorContains(t, err, why, path)
	}
	w, err = f.outcome(f.signed("/none", ""))
	assert.Equal(t, 404, w.Code)
	assert.Equal(t, ErrNotFound, err)
	w, err = f.outcome(f.signer.InstanceURL("", "gone", nil))
	assert.Equal(t, 404, w.Code)
	assert.JSONEq(t, `{"error":"Entity not found"}`, w.Body.String())
	assert.EqualError(t, err, "Entity not found: the directory of the instance or task: file does not exist")
	w, err = f.outcome(f.signer.InstanceURL("", "odd", nil))
	assert.Equal(t, 500, w.Code)
	assert.EqualError(t, err, `directory of a Tree is "relative/dir"; give an absolute path`)
	assert.Empty(t, log.String(), "whoever asked for the outcome logs it")

	f.get("/none")
	assert.Empty(t, log.String(), "the client knows as much")
	f.get("/out/passwd")
	assert.Contains(t, log.String(), "level=WARN")
	assert.Contains(t, log.String(), "leads out of the directory")
}

func TestOutcomeTellsTheUser(t *testing.T) {
	needs.Root(t)
	f := newFixture(t, Config{})
	f.registry.instances["app"] = Tree{Dir: f.root, AsOwner: true}
	require.NoError(t, os.Chown(f.root, 4711, 4711))
	require.NoError(t, os.Chmod(f.write("secret", "x"), 0o600))
	_, err := f.outcome(f.signed("/secret", ""))
	assert.EqualError(t, err, "Not accessible: permission denied as user 4711")
}

// A place that the DEA names and this server does not serve.
func TestRemoteTellsWhatIsNotBelow(t *testing.T) {
	api, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"instance_path":"/etc/passwd"}`) }))
	dir := realTempDir(t)
	remote, err := NewRemote(RemoteConfig{URL: api, Under: dir})
	require.NoError(t, err)
	defer remote.Close()
	_, err = remote.Resolve(t.Context(), httptest.NewRequest(http.MethodGet, "/instance_paths/x", nil))
	assert.EqualError(t, err, "Not accessible: /etc/passwd is not below "+dir)
	assert.ErrorIs(t, err, ErrNotAccessible)
}
