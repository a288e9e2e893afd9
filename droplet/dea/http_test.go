package dea_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/certtest"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

// An entry is the HTTPS interface of a DEA, and a Cloud Controller's side of it.
type entry struct {
	t       *testing.T
	url     string
	client  *http.Client
	clients *certtest.Authority // that issues the certificates of clients
	server  *certtest.Authority
	files   dea.TLSFiles
}

func newEntry(t *testing.T, handler http.Handler, edit func(*dea.TLSFiles)) *entry {
	t.Helper()
	e := &entry{t: t, clients: certtest.NewAuthority(t, "clients"), server: certtest.NewAuthority(t, "deas")}
	e.files.CertFile, e.files.KeyFile = e.server.Issue(t.TempDir(), "dea")
	e.files.CAFile = e.clients.File
	if edit != nil {
		edit(&e.files)
	}
	config, err := dea.ServerTLS(e.files, nil)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = config
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	e.url = server.URL
	e.client = e.as(e.clients)
	return e
}

// as returns a client whose certificate this authority issued; nil has none.
func (e *entry) as(authority *certtest.Authority) *http.Client {
	config := &tls.Config{RootCAs: e.server.Pool()}
	if authority != nil {
		pair, err := tls.LoadX509KeyPair(authority.Issue(e.t.TempDir(), "cc"))
		require.NoError(e.t, err)
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := &http.Transport{TLSClientConfig: config}
	e.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// send returns the status of the answer, and the error in it.
func (e *entry) send(method, path string, body any) (int, string) {
	e.t.Helper()
	text, ok := body.(string)
	if !ok {
		data, err := json.Marshal(body)
		require.NoError(e.t, err)
		text = string(data)
	}
	req, err := http.NewRequest(method, e.url+path, strings.NewReader(text))
	require.NoError(e.t, err)
	resp, err := e.client.Do(req)
	require.NoError(e.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(e.t, err)
	if resp.Header.Get("Content-Type") != "application/json" {
		return resp.StatusCode, ""
	}
	var answer struct{ Error string }
	require.NoError(e.t, json.Unmarshal(data, &answer), "%s", data)
	return resp.StatusCode, answer.Error
}

func TestStartOverHTTPS(t *testing.T) {
	w := newWorld(t, nil)
	e := newEntry(t, w.dea.Handler(nil), nil)
	code, _ := e.send("POST", "/v1/apps", w.startMessage(testapp.Serves, nil))
	assert.Equal(t, 202, code)
	assert.Equal(t, "app-guid", w.running()["droplet"])

	missing := w.startMessage(testapp.Serves, func(m object) { delete(m, "limits"); m["env"] = []string{"PASSWORD=secret"} })
	for body, test := range map[any]struct {
		code int
		text string
	}{
		"":                                 {400, "is empty"},
		"null":                             {400, "is empty"},
		"{":                                {400, "not valid JSON"},
		`{"droplet":"a"} x`:                {400, "not valid JSON"},
		`{"droplet":"a","limits":"large"}`: {400, "limits must not be a string"},
		encoded(t, missing):                {400, "limits.mem is required"},
		strings.Repeat(" ", 1<<20) + "{}":  {413, "too large"},
	} {
		code, text := e.send("POST", "/v1/apps", body)
		assert.Equal(t, test.code, code, "%.100v", body)
		assert.Contains(t, text, test.text)
		assert.NotContains(t, text, "secret")
	}
	for _, test := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/v1/apps", 405}, {"PUT", "/v1/apps", 405}, {"POST", "/v1/stage", 404}, {"POST", "/v1/apps/x", 404}, {"GET", "/", 404},
	} {
		code, _ := e.send(test.method, test.path, w.startMessage(testapp.Serves, nil))
		assert.Equal(t, test.code, code, "%s %s", test.method, test.path)
	}
	w.quiet()
	assert.Len(t, w.dea.Instances(), 1, "nothing but the one message was taken")
}

func encoded(t *testing.T, m object) string {
	data, err := json.Marshal(m)
	require.NoError(t, err)
	return string(data)
}

func TestStageOverHTTPS(t *testing.T) {
	w := newWorld(t, nil)
	var staged []messaging.StagingRequest
	e := newEntry(t, w.dea.Handler(func(m messaging.StagingRequest) error {
		if m.AppID == "one too many" {
			return errors.New("no room for it")
		}
		staged = append(staged, m)
		return nil
	}), nil)
	code, _ := e.send("POST", "/v1/stage", `{"app_id":"a","task_id":"t","stack":"cflinuxfs2","accepts_http":true}`)
	assert.Equal(t, 202, code)
	require.Len(t, staged, 1)
	assert.Equal(t, messaging.Text("t"), staged[0].TaskID)
	code, text := e.send("POST", "/v1/stage", `{"app_id":"one too many"}`)
	assert.Equal(t, 503, code)
	assert.Equal(t, "no room for it", text)
	code, _ = e.send("POST", "/v1/stage", `[]`)
	assert.Equal(t, 400, code)
	code, _ = e.send("GET", "/v1/stage", ``)
	assert.Equal(t, 405, code)
	assert.Len(t, staged, 1)
}

func TestLeavingRefusesOverHTTPS(t *testing.T) {
	w := newWorld(t, nil)
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	e := newEntry(t, w.dea.Handler(func(messaging.StagingRequest) error {
		t.Error("staging while leaving")
		return nil
	}), nil)
	w.dea.Evacuate()
	w.await("dea.shutdown", nil)
	for _, path := range []string{"/v1/apps", "/v1/stage"} {
		code, text := e.send("POST", path, w.startMessage(testapp.Serves, nil))
		assert.Equal(t, 503, code)
		assert.Contains(t, text, "leaving")
	}
	assert.Len(t, w.dea.Instances(), 1)
}

func TestWhoMaySend(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	closed := newEntry(t, handler, nil)
	code, _ := closed.send("POST", "/", "")
	assert.Equal(t, 202, code)
	for _, stranger := range []*certtest.Authority{nil, certtest.NewAuthority(t, "stranger")} {
		_, err := closed.as(stranger).Post(closed.url, "", nil)
		assert.ErrorContains(t, err, "remote error: tls")
	}
	open := newEntry(t, handler, func(f *dea.TLSFiles) { f.CAFile = "" })
	for _, anyone := range []*certtest.Authority{nil, certtest.NewAuthority(t, "stranger")} {
		open.client = open.as(anyone)
		code, _ := open.send("POST", "/", "")
		assert.Equal(t, 202, code)
	}
}

func TestRenewedCertificateIsServed(t *testing.T) {
	e := newEntry(t, http.NotFoundHandler(), nil)
	name := func() string {
		resp, err := e.as(e.clients).Get(e.url)
		require.NoError(t, err)
		defer resp.Body.Close()
		return resp.TLS.PeerCertificates[0].Subject.CommonName
	}
	assert.Equal(t, "dea", name())
	cert, key := e.server.Issue(t.TempDir(), "renewed")
	for _, move := range [][2]string{{key, e.files.KeyFile}, {cert, e.files.CertFile}} {
		require.NoError(t, os.Chtimes(move[0], time.Time{}, time.Now().Add(time.Hour)))
		require.NoError(t, os.Rename(move[0], move[1]))
	}
	assert.Equal(t, "renewed", name())
}

func TestMissingTLSFiles(t *testing.T) {
	dir := t.TempDir()
	files := dea.TLSFiles{KeyFile: filepath.Join(dir, "k"), CertFile: filepath.Join(dir, "c")}
	_, err := dea.ServerTLS(files, nil)
	assert.EqualError(t, err, fmt.Sprintf("dea: Invalid SSL Certs: One or more files not found: %s, %s", files.KeyFile, files.CertFile))
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestVarzAndMetrics(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.Instance.SampleInterval = 10 * time.Millisecond })
	w.start(w.startMessage(testapp.Serves, func(m object) {
		m["env"] = append(m["env"].([]string), "SECRET=hidden")
		m["services"] = []object{{"name": "db", "label": "mysql", "credentials": object{"password": "hidden"}}}
	}))
	beat := w.running()
	w.start(w.startMessage(testapp.ExitsAtOnce, func(m object) { m["index"] = 1; m["limits"] = object{"mem": 64, "disk": 1024, "fds": 256} }))
	w.await("droplet.exited", nil)
	require.Eventually(t, func() bool {
		return w.parts.Ledger.Reserved().MemoryBytes == 64<<20 && !w.dea.Instances()[0].Status().Usage.At.IsZero()
	}, patience, time.Millisecond)
	staging := resources.Amount{MemoryBytes: 320 << 20, DiskBytes: 1 << 30}
	c, err := component.New(component.Config{
		Type: "DEA", UUID: w.dea.ID(), User: "u", Password: "p",
		Varz:    func(ctx context.Context) map[string]any { return w.dea.Varz(ctx, staging) },
		Metrics: func(context.Context) []component.Metric { return w.dea.Metrics(staging) },
	})
	require.NoError(t, err)
	page := func(path string) string {
		req := httptest.NewRequest("GET", path, nil)
		req.SetBasicAuth("u", "p")
		resp := httptest.NewRecorder()
		c.Handler().ServeHTTP(resp, req)
		require.Equal(t, 200, resp.Code)
		return resp.Body.String()
	}

	body := page("/varz")
	assert.NotContains(t, body, "hidden")
	assert.NotContains(t, body, "u:p@", "the URL of the droplet")
	var varz object
	require.NoError(t, json.Unmarshal([]byte(body), &varz))
	assert.Equal(t, []any{"cflinuxfs2"}, varz["stacks"])
	assert.Equal(t, 1.0, varz["can_stage"])
	assert.Equal(t, 2.0, varz["reservable_stagers"], "disk for two: (4096-128-1024)/1024, memory for three")
	assert.InDelta(t, 1-64.0/1024, varz["available_memory_ratio"], 1e-9)
	assert.InDelta(t, 1-(128.0+1024)/4096, varz["available_disk_ratio"], 1e-9)
	handles, err := w.parts.Backend.List(t.Context())
	require.NoError(t, err)
	require.Len(t, handles, 1)
	assert.Equal(t, []any{handles[0]}, varz["warden_containers"])
	instances := varz["instance_registry"].(object)["app-guid"].(object)
	assert.Len(t, instances, 2)
	running := instances[beat["instance"].(string)].(object)
	for key, value := range (object{
		"application_id": "app-guid", "application_name": "shop", "application_version": "v1", "cc_partition": "default",
		"application_uris": []any{"shop.example.com"}, "instance_id": beat["instance"], "instance_index": 0.0, "state": "RUNNING",
		"state_timestamp": beat["state_timestamp"], "state_running_timestamp": beat["state_timestamp"], "warden_handle": handles[0],
		"limits": object{"mem": 64.0, "disk": 128.0, "fds": 256.0}, "droplet_sha1": w.app.SHA1, "exit_status": -1.0,
	}) {
		assert.Equal(t, value, running[key], key)
	}
	assert.Greater(t, running["used_memory_in_bytes"], 0.0)
	assert.Contains(t, running, "used_disk_in_bytes")
	assert.Contains(t, running, "computed_pcpu")
	for _, key := range []string{"services", "environment", "droplet_uri", "start_command"} {
		assert.NotContains(t, running, key)
	}

	lines := strings.Split(page("/metrics"), "\n")
	for _, line := range []string{
		"dea_remaining_memory_bytes 1.00663296e+09", "dea_available_memory_ratio 0.9375", "dea_available_disk_ratio 0.71875",
		"dea_instances 2", "dea_reservable_stagers 2",
		`dea_registry_instances{state="running"} 1`, `dea_registry_instances{state="crashed"} 1`, `dea_registry_instances{state="born"} 0`,
	} {
		assert.Contains(t, lines, line)
	}
	labels := fmt.Sprintf(`{app="app-guid",index="0",instance="%s"} `, beat["instance"])
	for _, name := range []string{"dea_instance_cpu_cores", "dea_instance_memory_bytes", "dea_instance_disk_bytes"} {
		found := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, name+"{") })
		require.Len(t, found, 1, "of what runs only")
		assert.True(t, strings.HasPrefix(found[0], name+labels), found[0])
	}
	assert.Equal(t, 0, w.dea.Varz(t.Context(), resources.Amount{})["can_stage"], "nothing is staged here")
}
