package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/internal/certtest"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

func TestMain(m *testing.M) { programtest.Main(m, run, nil) }

type object = map[string]any

// A site is what a DEA needs: NATS, a configuration file, a droplet.
type site struct {
	*programtest.Bus
	t     *testing.T
	dir   string
	cfg   object
	app   testapp.Droplet
	blobs *httptest.Server

	backend string
}

// newSite is for apps that are plain processes.
func newSite(t *testing.T) *site { return newSiteOn(t, backends.Process) }

func newSiteOn(t *testing.T, backend string) *site {
	s := &site{t: t, backend: backend, dir: t.TempDir(), Bus: programtest.NewBus(t), app: testapp.NewDroplet(t, nil)}
	s.blobs = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, s.app.Path) }))
	t.Cleanup(s.blobs.Close)
	s.cfg = object{
		"base_dir": filepath.Join(s.dir, "dea"), "pid_filename": filepath.Join(s.dir, "dea.pid"), "logging": object{"level": "debug"},
		"nats_servers": []string{s.Server.URL()}, "index": 3, "domain": "example.com", "stacks": []string{"lucid64"},
		"directory_server": object{"protocol": "http", "v2_port": programtest.FreePort(t), "file_api_port": programtest.FreePort(t)},
		"resources":        object{"memory_mb": 512, "memory_overcommit_factor": 2, "disk_mb": 4096},
		"staging":          object{"enabled": true}, "warden_socket": "/tmp/warden.sock",
		"deakit": object{"host": "127.0.0.1", "log_emitters": object{"nats": "lines"}},
	}
	if backend != backends.Process { // which sees the app anyway
		self, err := os.Executable()
		require.NoError(t, err)
		s.cfg["bind_mounts"] = []object{{"src_path": self}}
	}
	return s
}

// start runs a DEA.
func (s *site) start() *programtest.Program {
	s.t.Helper()
	return programtest.Start(s.t, "--backend", s.backend, s.write())
}

func (s *site) write() string {
	data, err := yaml.Marshal(s.cfg)
	require.NoError(s.t, err)
	file := filepath.Join(s.dir, "dea.yml")
	require.NoError(s.t, os.WriteFile(file, data, 0o600))
	return file
}

func (s *site) startMessage(index int) object {
	return object{
		"droplet": "app-guid", "index": index, "name": "shop", "version": "v1", "uris": []string{"shop.example.com"}, "sha1": s.app.SHA1,
		"executableUri": s.blobs.URL, "services": []object{}, "limits": object{"mem": 64, "disk": 128, "fds": 256}, "cc_partition": "default",
		"env": []string{testapp.Env(testapp.Serves)},
	}
}

// file fetches a file of the app by signed URL, as a router with this route of the directory server would send it.
func (s *site) file(route object, path string) string {
	s.t.Helper()
	answer, err := s.Peer.Request("dea.find.droplet", []byte(fmt.Sprintf(`{"droplet":"app-guid","path":%q}`, path)), 10*time.Second)
	require.NoError(s.t, err)
	var found object
	require.NoError(s.t, json.Unmarshal(answer.Data, &found))
	signed := found["file_uri_v2"].(string)
	host := route["uris"].([]any)[0].(string)
	require.True(s.t, strings.HasPrefix(signed, "http://"+host+"/instance_paths/"), signed)
	request, err := http.NewRequest(http.MethodGet, strings.Replace(signed, host, fmt.Sprintf("127.0.0.1:%.0f", route["port"]), 1), nil)
	require.NoError(s.t, err)
	request.Host = host
	return get(s.t, request)
}

func ofApp(m object) bool { return m["app"] == "app-guid" }

func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		text string
	}{
		{nil, exitUsage, "--help"},
		{[]string{"a.yml", "b.yml"}, exitUsage, "b.yml"},
		{[]string{"--backend", "magic", "a.yml"}, exitUsage, "process"},
		{[]string{"--help"}, exitOK, "USR2"},
		{[]string{"/no/such/file"}, exitFailed, "ERROR: Failed loading config"},
		{[]string{"--check", "dea.yml"}, exitOK, "warnings: 0"},
		{[]string{"--check"}, exitUsage, "CONFIG.yml"},
		{[]string{"--check", "-conf", "dea.yml"}, exitOK, "can be used"},
		{[]string{"--check", "-conf=dea.yml", "dea.yml"}, exitUsage, "give one configuration file"},
		{[]string{"-conf"}, exitUsage, "--conf"},
		{[]string{"--doctor", "--backend", "process"}, exitOK, "--backend process takes process"},
		{[]string{"--doctor", "/no/such/file"}, exitFailed, "/no/such/file"},
	} {
		p := programtest.Start(t, tc.args...)
		assert.Equal(t, tc.code, p.End(), tc.args)
		assert.Contains(t, p.Text(), tc.text)
	}
}

// What is wrong keeps the program from starting, with a message and a status, and no trace of it.
func TestRefusals(t *testing.T) {
	s := newSite(t)
	s.cfg["index"] = "three"
	delete(s.cfg, "base_dir")
	p := s.start()
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "index")
	assert.Contains(t, p.Text(), "base_dir")

	s = newSite(t)
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.cfg["directory_server"].(object)["file_api_port"]))
	require.NoError(t, err)
	defer taken.Close()
	p = s.start()
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "directory_server.file_api_port: listen tcp 127.0.0.1:")
	assert.NotContains(t, p.Text(), "--no-directory-server")
	assert.NoFileExists(t, s.cfg["pid_filename"].(string))

	s = newSite(t)
	server, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.cfg["directory_server"].(object)["v2_port"]))
	require.NoError(t, err)
	defer server.Close()
	p = s.start()
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "directory_server.v2_port: listen tcp 127.0.0.1:")
	assert.Contains(t, p.Text(), "--no-directory-server")
}

// The life of a DEA as the other parts of a platform see it, with the signals that an operator sends.
func TestLifeOfANode(t *testing.T) {
	s := newSite(t)
	p := s.start()
	files := s.Await("router.register", nil)
	offer := s.Await("dea.advertise", nil)
	assert.Equal(t, 1024.0, offer["available_memory"], "twice what there is")
	assert.Equal(t, []any{"lucid64"}, offer["stacks"])
	s.Send("staging.locate", nil)
	assert.Equal(t, offer["id"], s.Await("staging.advertise", nil)["id"])

	second := s.start()
	assert.Equal(t, exitFailed, second.End())
	assert.Contains(t, second.Text(), "already running")

	lines, err := s.Peer.SubscribeSync("lines.app-guid")
	require.NoError(t, err)
	id := offer["id"].(string)
	s.Send("dea."+id+".start", s.startMessage(0))
	route := s.Await("router.register", ofApp)
	assert.Equal(t, "127.0.0.1", route["host"])

	for said := false; !said; {
		line, err := lines.NextMsg(30 * time.Second)
		require.NoError(t, err)
		said = strings.Contains(string(line.Data), `"source":"APP","stream":"stdout","text":"app in mode serves"`)
	}

	assert.Equal(t, "app in mode serves\n", s.file(files, "/logs/stdout.log"))
	p.Says(`"file":"/logs/stdout.log","tail":false,"status":200,"bytes":19,"complete":true`)

	var record messaging.Component
	answer, err := s.Peer.Request("vcap.component.discover", nil, 10*time.Second)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(answer.Data, &record))
	for _, want := range [][2]string{
		{"healthz", "ok\n"}, {"varz", `"app-guid"`}, {"metrics", "dea_instances 1\n"}, {"metrics", `directory_requests_total{status="200"} 1` + "\n"},
	} {
		path, text := want[0], want[1]
		request, err := http.NewRequest(http.MethodGet, "http://"+record.Host+"/"+path, nil)
		require.NoError(t, err)
		request.SetBasicAuth(record.Credentials[0], record.Credentials[1])
		assert.Contains(t, get(t, request), text)
	}

	p.Signal(syscall.SIGUSR1)
	assert.Equal(t, id, s.Await("dea.shutdown", nil)["id"])
	p.Signal(syscall.SIGUSR2)
	s.Await("dea.heartbeat", func(m object) bool {
		list := m["droplets"].([]any)
		return len(list) == 1 && list[0].(object)["state"] == "EVACUATING"
	})
	s.Send("dea.stop", object{"droplet": "app-guid"})
	assert.Equal(t, exitOK, p.End())
	assert.NoFileExists(t, s.cfg["pid_filename"].(string))
}

// A signal that asks for something other than the end does not end a node that is not ready for it yet.
func TestSignalDuringBoot(t *testing.T) {
	s := newSite(t)
	p := s.start()
	require.Eventually(t, func() bool { _, err := os.Stat(s.cfg["pid_filename"].(string)); return err == nil }, 10*time.Second, time.Millisecond)
	p.Signal(syscall.SIGHUP)
	p.Signal(syscall.SIGUSR1)
	s.Await("dea.shutdown", nil) // what USR1 asks for, as soon as there is a DEA
	p.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, p.End())
}

// A node that was killed and is started again goes on where it was.
func TestKilledNode(t *testing.T) {
	t.Run(backends.Process, func(t *testing.T) { killedNode(t, newSiteOn(t, backends.Process)) })
	t.Run(backends.Runc, func(t *testing.T) {
		needs.Root(t)
		needs.Tool(t, "runc", "runc")
		killedNode(t, newSiteOn(t, backends.Runc))
	})
	t.Run(backends.Warden, func(t *testing.T) {
		s := newSiteOn(t, backends.Warden)
		s.cfg["warden_socket"] = wardenServer(t)
		killedNode(t, s)
	})
}

// wardenServer runs a Warden server, as a process of its own would be, and returns its socket.
func wardenServer(t *testing.T) (socket string) {
	dir, err := os.MkdirTemp("", "warden") // short enough for a socket
	require.NoError(t, err)
	b, err := process.New(process.Options{Depot: filepath.Join(dir, "depot")})
	require.NoError(t, err)
	server, err := warden.NewServer(warden.Config{Backend: b, StateDir: filepath.Join(dir, "state")})
	require.NoError(t, err)
	socket = filepath.Join(dir, "sock")
	listener, err := warden.Listen(socket, 0o700)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()
	t.Cleanup(func() {
		left, err := b.List(context.Background())
		assert.NoError(t, err)
		assert.Empty(t, left, "the DEA ended what it had")
		stop()
		assert.NoError(t, <-ended)
		assert.NoError(t, b.Close(context.Background()))
		assert.NoError(t, os.RemoveAll(dir))
	})
	return socket
}

func killedNode(t *testing.T, s *site) {
	first := s.start()
	s.Send("dea."+s.Await("dea.advertise", nil)["id"].(string)+".start", s.startMessage(0))
	route := s.Await("router.register", ofApp)
	page, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s:%.0f/", route["host"], route["port"]), nil)
	require.NoError(t, err)
	file := filepath.Join(s.cfg["base_dir"].(string), "db/instances.json")
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(data), `"RUNNING"`)
	}, 10*time.Second, 5*time.Millisecond)
	first.Kill()
	before := get(t, page)

	again := s.start()
	assert.Equal(t, route["private_instance_id"], s.Await("router.register", ofApp)["private_instance_id"])
	files := s.Await("router.register", func(m object) bool { return m["app"] == nil })
	beat := s.Await("dea.heartbeat", nil)["droplets"].([]any)
	require.Len(t, beat, 1)
	assert.Equal(t, "RUNNING", beat[0].(object)["state"])
	assert.Equal(t, before, get(t, page), "the same process")
	assert.Equal(t, "app in mode serves\n", s.file(files, "/logs/stdout.log"), "by a new URL")
	again.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, again.End())
	http.DefaultClient.CloseIdleConnections()
	_, err = http.DefaultClient.Do(page)
	assert.Error(t, err)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), s.dir+"/")
}

func get(t *testing.T, request *http.Request) string {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", data)
	return string(data)
}

// The last dea_ng: starts over mutual TLS, heartbeats over mutual TLS.
func TestNodeOf2016(t *testing.T) {
	s := newSite(t)
	platform := certtest.NewAuthority(t, "platform")
	cert, key := platform.Issue(s.dir, "dea")
	pair, err := tls.LoadX509KeyPair(cert, key) // for all of them: it is the authority that counts
	require.NoError(t, err)
	beats := make(chan messaging.Heartbeat, 100)
	hm := httptest.NewUnstartedServer(heartbeat.Receiver(func(h messaging.Heartbeat, _ time.Time) { beats <- h }, nil))
	hm.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: platform.Pool()}
	hm.StartTLS()
	defer hm.Close()
	s.cfg["hm9000"] = object{"listener_uri": hm.URL, "key_file": key, "cert_file": cert, "ca_file": platform.File}
	s.cfg["ssl"] = object{"port": programtest.FreePort(t), "key_file": key, "cert_file": cert, "ca_file": platform.File}
	s.cfg["service_name"] = "127.0.0.1"
	p := s.start()
	offer := s.Await("dea.advertise", nil)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: platform.Pool(),
	}}}
	defer client.CloseIdleConnections()
	post := func(path string, message any) int {
		data, err := json.Marshal(message)
		require.NoError(t, err)
		response, err := client.Post(offer["url"].(string)+path, "application/json", bytes.NewReader(data))
		require.NoError(t, err)
		response.Body.Close()
		return response.StatusCode
	}
	require.Equal(t, http.StatusAccepted, post("/v1/apps", s.startMessage(0)))
	s.Await("router.register", ofApp)
	for running := false; !running; {
		select {
		case beat := <-beats:
			assert.Equal(t, offer["id"], beat.DEA)
			running = len(beat.Droplets) == 1 && beat.Droplets[0].State == messaging.Running
		case <-time.After(30 * time.Second):
			t.Fatal("no heartbeat")
		}
	}
	assert.Equal(t, http.StatusServiceUnavailable, post("/v1/stage", object{"app_id": "a", "task_id": "t", "properties": object{}}), "there is no cc_url")
	p.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, p.End())
	for len(s.Heard) > 0 {
		assert.NotEqual(t, "dea.heartbeat", (<-s.Heard).Subject)
	}
}
