package directory

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fileAPI is a file API for the instances "app" (running), "starting", and the staging tasks "task", "new".
func fileAPI(t *testing.T, now int64) (base string, client *http.Client, root string) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"root/logs/stdout.log": "out", "root/link": "->logs", "root/etc": "->/etc", "root/not\xffutf8": "x",
		"rootless/file": "x", "rootfs/tmp/staged/logs/staging_task.log": "staging", "rootfs/l": "->/tmp/staged"})
	signer := signerAt(t, now, testKey)
	rootfs := filepath.Join(dir, "rootfs")
	local := NewLocal(signer, &registry{
		instances: map[string]Tree{"app": {Dir: filepath.Join(dir, "root")}, "starting": {}},
		tasks:     map[string]Tree{"task": {Dir: rootfs, ContainerRoot: rootfs}, "new": {}},
	})
	base, client = serve(t, FileAPI(local, nil))
	return base, client, dir
}

func TestFileAPI(t *testing.T) {
	base, client, dir := fileAPI(t, signedAt)
	s := signerAt(t, signedAt, testKey)
	old := signerAt(t, signedAt-3601, testKey)
	other := signerAt(t, signedAt, "another key")
	for _, c := range []struct {
		name, url string
		status    int
		key, text string
	}{
		{"instance", s.InstanceURL(base, "app", text("/logs/stdout.log")), 200, "instance_path", dir + "/root/logs/stdout.log"},
		{"resolved", s.InstanceURL(base, "app", text("/link/../link/stdout.log")), 200, "instance_path", dir + "/root/logs/stdout.log"},
		{"root", s.InstanceURL(base, "app", nil), 200, "instance_path", dir + "/root"},
		{"task", s.StagingURL(base, "task", text("/tmp/staged/logs/staging_task.log")), 200, "instance_path", dir + "/rootfs/tmp/staged/logs/staging_task.log"},
		{"task resolved", s.StagingURL(base, "task", text("/l/logs/")), 200, "instance_path", dir + "/rootfs/tmp/staged/logs"},
		{"age of an hour", signerAt(t, signedAt-3600, testKey).InstanceURL(base, "app", nil), 200, "instance_path", dir + "/root"},
		{"from the future", signerAt(t, signedAt+99, testKey).InstanceURL(base, "app", nil), 200, "instance_path", dir + "/root"},

		{"no hmac", base + "/instance_paths/app?path=x&timestamp=1", 400, "error", "hmac is missing"},
		{"bad signature", other.InstanceURL(base, "app", nil), 401, "error", "Invalid HMAC"},
		{"bad signature of unknown", other.InstanceURL(base, "no", nil), 401, "error", "Invalid HMAC"},
		{"bad and old", signerAt(t, 1, "x").InstanceURL(base, "app", nil), 401, "error", "Invalid HMAC"},
		{"old", old.InstanceURL(base, "app", nil), 400, "error", "Url expired"},
		{"old and unknown", old.StagingURL(base, "no", nil), 400, "error", "Url expired"},
		{"unknown instance", s.InstanceURL(base, "no", nil), 404, "error", "Unknown instance"},
		{"unknown task", s.StagingURL(base, "no", nil), 404, "error", "Unknown staging task"},
		{"starting instance", s.InstanceURL(base, "starting", text("/..")), 503, "error", "Instance unavailable"},
		{"new task", s.StagingURL(base, "new", nil), 503, "error", "Staging task unavailable"},
		{"missing file", s.InstanceURL(base, "app", text("/no")), 404, "error", "Entity not found"},
		{"name that JSON cannot carry", s.InstanceURL(base, "app", text("/not\xffutf8")), 404, "error", "Entity not found"},
		{"above", s.InstanceURL(base, "app", text("/..")), 403, "error", "Not accessible"},
		{"link outside", s.InstanceURL(base, "app", text("/etc/passwd")), 403, "error", "Not accessible"},
		{"sibling", s.InstanceURL(base, "app", text("/../rootless/file")), 403, "error", "Not accessible"},
	} {
		resp, body := do(t, client, "GET", c.url)
		assert.Equal(t, c.status, resp.StatusCode, c.name)
		assert.Equal(t, "application/json", resp.Header.Get("Content-Type"), c.name)
		var fields map[string]string
		require.NoError(t, json.Unmarshal([]byte(body), &fields), "%s: %s", c.name, body)
		assert.Equal(t, map[string]string{c.key: c.text}, fields, c.name)
	}
}

func TestFileAPIRoutes(t *testing.T) {
	base, client, _ := fileAPI(t, signedAt)
	s := signerAt(t, signedAt, testKey)
	good := s.InstanceURL(base, "app", nil)
	for _, c := range []struct {
		method, url string
		status      int
	}{
		{"HEAD", good, 200}, {"POST", good, 405}, {"DELETE", s.StagingURL(base, "task", nil), 405},
		{"GET", base + "/", 404}, {"POST", base + "/elsewhere", 404}, {"GET", base + s.SignedPath("/instance_paths/", nil), 404},
		{"GET", base + s.SignedPath("/instance_paths/app/x", nil), 404}, {"GET", base + s.SignedPath("/staging_tasks/task", nil), 404},
		{"GET", base + s.SignedPath("/staging_tasks//file_path", nil), 404}, {"GET", base + s.SignedPath("/instance_paths/a%2Fb", nil), 404},
	} {
		resp, body := do(t, client, c.method, c.url)
		assert.Equal(t, c.status, resp.StatusCode, "%s %s", c.method, c.url)
		if c.method == "HEAD" {
			assert.Empty(t, body)
		}
	}
}

type failingLookup struct{ registry }

func (*failingLookup) Instance(context.Context, string) (Tree, error) {
	return Tree{}, errors.New("disk /var/secret burns")
}

func TestLookupFailure(t *testing.T) {
	signer := signerAt(t, signedAt, testKey)
	local := NewLocal(signer, &failingLookup{})
	var log strings.Builder
	api, client := serve(t, FileAPI(local, logTo(&log)))
	resp, body := do(t, client, "GET", signer.InstanceURL(api, "app", nil))
	assert.Equal(t, 500, resp.StatusCode)
	assert.NotContains(t, body, "secret")

	server, err := NewServer(Config{Resolver: local, Logger: logTo(&log)})
	require.NoError(t, err)
	front, client := serve(t, server)
	resp, body = do(t, client, "GET", signer.InstanceURL(front, "app", nil))
	assert.Equal(t, 500, resp.StatusCode)
	assert.NotContains(t, body, "secret")
	assert.Equal(t, 2, strings.Count(log.String(), "burns"))
	assert.NotContains(t, log.String(), "hmac")
}
