package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/internal/testapp"
)

// builtIn is the directory of the DEA's binary, which goes after the tests.
var builtIn string

// deaBinary builds examples/dea, once for all tests.
var deaBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "deakit-dea")
	if err != nil {
		return "", err
	}
	builtIn = dir
	file := filepath.Join(dir, "dea")
	if out, err := exec.Command("go", "build", "-o", file, "../dea").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build examples/dea: %w\n%s", err, out)
	}
	return file, nil
})

// A site is a DEA and a directory server that share a file, as processes, with NATS and what else a platform has.
type site struct {
	*programtest.Bus
	t     *testing.T
	file  string // the configuration
	base  string // of the DEA
	app   testapp.Droplet
	blobs *http.ServeMux
	url   string // of blobs

	dea, server *programtest.Program
	port        int    // of the directory server
	status      string // URL of its status endpoint
}

const key = "0123456789abcdef0123456789abcdef"

// newKey returns an Ed25519 key in PEM.
func newKey(t *testing.T) []byte {
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// newSite starts nothing of ours.
func newSite(t *testing.T) *site {
	s := &site{t: t, Bus: programtest.NewBus(t), app: testapp.NewDroplet(t, nil),
		port: programtest.FreePort(t), blobs: http.NewServeMux()}
	s.blobs.HandleFunc("GET /droplet", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, s.app.Path) })
	blobs := httptest.NewServer(s.blobs)
	t.Cleanup(blobs.Close)
	s.url = blobs.URL
	dir, status := t.TempDir(), programtest.FreePort(t)
	private := filepath.Join(dir, "urls.key")
	require.NoError(t, os.WriteFile(private, newKey(t), 0o600))
	s.base = filepath.Join(dir, "dea")
	s.status = fmt.Sprintf("http://u:p@127.0.0.1:%d/", status)
	s.file = write(t, object{
		"base_dir": s.base, "pid_filename": filepath.Join(dir, "dea.pid"), "logging": object{"level": "debug"},
		"nats_servers": []string{s.Server.URL()}, "index": 3, "domain": "example.com", "stacks": []string{"lucid64"},
		"directory_server": object{"protocol": "http", "v2_port": s.port, "file_api_port": programtest.FreePort(t), "streaming_timeout": 30, "logging": object{"level": "info"}},
		"resources":        object{"memory_mb": 4096, "disk_mb": 8192}, "staging": object{"enabled": true}, "status": object{"user": "u", "password": "p"},
		"deakit": object{
			"host": "127.0.0.1", "directory_status_port": status, "file_urls": object{
				"host_label": "dea-3-files", "private_key_file": private, "keys": []string{key}, // which signed before
			},
		},
	})
	return s
}

func (s *site) startDEA() {
	s.t.Helper()
	binary, err := deaBinary()
	require.NoError(s.t, err)
	s.dea = programtest.Launch(s.t, binary, "--backend", "process", "--no-directory-server", s.file)
}

func (s *site) startServer() {
	s.t.Helper()
	s.server = programtest.Start(s.t, "-conf", s.file)
	s.server.Says(`"for":"status"`)
}

// startApp starts the app on the DEA and waits until it runs.
func (s *site) startApp() {
	s.t.Helper()
	s.Send("dea."+s.Await("dea.advertise", nil)["id"].(string)+".start", object{
		"droplet": "app-guid", "index": 0, "name": "shop", "version": "v1", "uris": []string{"shop.example.com"}, "sha1": s.app.SHA1,
		"executableUri": s.url + "/droplet", "services": []object{}, "limits": object{"mem": 64, "disk": 128, "fds": 256}, "cc_partition": "default",
		"env": []string{testapp.Env(testapp.Serves)},
	})
	s.running()
}

// running waits until the DEA tells that the app runs, and has noted it for the next DEA.
func (s *site) running() {
	s.t.Helper()
	s.Await("dea.heartbeat", func(m object) bool {
		list := m["droplets"].([]any)
		return len(list) == 1 && list[0].(object)["state"] == "RUNNING"
	})
	require.Eventually(s.t, func() bool {
		data, err := os.ReadFile(filepath.Join(s.base, "db/instances.json"))
		return err == nil && strings.Contains(string(data), `"RUNNING"`)
	}, patience, 5*time.Millisecond)
}

// signed asks for the URL of a path, as the Cloud Controller does; nil is the null path.
func (s *site) signed(path any) string {
	s.t.Helper()
	question, err := json.Marshal(object{"droplet": "app-guid", "indices": []int{0}, "states": []string{"RUNNING", "STARTING"}, "path": path})
	require.NoError(s.t, err)
	answer, err := s.Peer.Request("dea.find.droplet", question, patience)
	require.NoError(s.t, err)
	var found object
	require.NoError(s.t, json.Unmarshal(answer.Data, &found))
	return found["file_uri_v2"].(string)
}

// route is what a router does: it sends a URL of the directory server's host to where that listens.
func (s *site) route(signed string) (address, host string) {
	s.t.Helper()
	u, err := url.Parse(signed)
	require.NoError(s.t, err)
	return strings.Replace(signed, u.Host, fmt.Sprintf("127.0.0.1:%d", s.port), 1), u.Host
}

// get fetches a signed URL.
func (s *site) get(signed string, header ...string) (*http.Response, string) {
	s.t.Helper()
	address, host := s.route(signed)
	return get(s.t, address, append(header, "Host", host)...)
}

// fileAPIPort is the one in the configuration.
func (s *site) fileAPIPort() string {
	cfg, _, err := config.LoadFileServer(s.file)
	require.NoError(s.t, err)
	return fmt.Sprint(cfg.DirectoryServer.FileAPIPort)
}

// serve serves a blob.
func (s *site) serve(path string, data []byte) {
	s.blobs.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
}
