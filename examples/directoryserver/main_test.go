package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/internal/hostport"
	"github.com/deakit/deakit/internal/testapp"
)

// asProgram makes the test binary the program itself.
const asProgram = "TEST_DIRECTORYSERVER_PROGRAM"

func TestMain(m *testing.M) {
	testapp.Main()
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args[1:]))
	}
	code := m.Run()
	_ = os.RemoveAll(builtIn)
	os.Exit(code)
}

const patience = 30 * time.Second

type object = map[string]any

// A program is a run of a binary.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has
	code   int           // valid then
	mu     sync.Mutex
	output bytes.Buffer
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// start runs the directory server.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return launch(t, self, args...)
}

func launch(t *testing.T, binary string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p, p
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // a kill would leave the apps of a DEA
		select {
		case <-p.ended:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
		if t.Failed() {
			t.Log(p.text())
		}
	})
	return p
}

func (p *program) signal(s syscall.Signal) { require.NoError(p.t, p.cmd.Process.Signal(s)) }

// kill is kill -9.
func (p *program) kill() {
	require.NoError(p.t, p.cmd.Process.Kill())
	<-p.ended
}

func (p *program) end() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(patience):
		p.t.Fatal("it does not end:\n", p.text())
		return -1
	}
}

// says waits until the program has written a text.
func (p *program) says(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.text(), text) }, patience, 2*time.Millisecond, "%s in\n%s", text, p.text())
}

// freePort holds a port, for the length of the test, from all who draw ports this way, and from outgoing connections.
func freePort(t *testing.T) int {
	port, err := hostport.NewPool(hostport.Default()).Draw()
	require.NoError(t, err)
	t.Cleanup(port.Release)
	return int(port.Number())
}

// write writes a configuration file.
func write(t *testing.T, cfg object) string {
	data, err := yaml.Marshal(cfg)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "dea.yml")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return file
}

func TestCommandLine(t *testing.T) {
	sample := "../dea/dea.yml"
	for _, tc := range []struct {
		args []string
		code int
		text string
	}{
		{nil, exitUsage, "--conf"},
		{[]string{"-conf"}, exitUsage, "--help"},
		{[]string{"-conf", sample, "more"}, exitUsage, "more"},
		{[]string{"--help"}, exitOK, "TERM, INT, QUIT"},
		{[]string{"-conf", sample, "--check"}, exitOK, "can be used; warnings: 0"},
		{[]string{"-conf=" + sample, "--check"}, exitOK, "can be used"},
		{[]string{"--conf", sample, "--check"}, exitOK, "can be used"},
		{[]string{"-conf", sample, "--under", "/no/such/directory"}, exitUsage, "/no/such/directory"},
		{[]string{"-conf", "/no/such/file"}, exitFailed, "/no/such/file: no such file or directory"},
		{[]string{"-conf", write(t, object{"directory_server": object{"v2_port": "x", "file_api_port": 1}})}, exitFailed,
			"dea.yml:3: directory_server.v2_port: must be a whole number"},
		{[]string{"-conf", write(t, object{"directory_server": object{"v2_port": 1, "file_api_port": 2}, "deakit": object{"host": "192.0.2.1"}})},
			exitFailed, "set deakit.host to an address of this machine"},
	} {
		p := start(t, tc.args...)
		assert.Equal(t, tc.code, p.end(), tc.args)
		assert.Contains(t, p.text(), tc.text)
	}
}

// A port that is taken is told with its key, before anything is served.
func TestPortsThatAreTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	cfg := object{
		"directory_server": object{"v2_port": port, "file_api_port": freePort(t)},
		"deakit":           object{"host": "127.0.0.1"},
	}
	p := start(t, "-conf", write(t, cfg))
	assert.Equal(t, exitFailed, p.end())
	assert.Contains(t, p.text(), "directory_server.v2_port: listen tcp 127.0.0.1")
	assert.Contains(t, p.text(), "--no-directory-server")

	cfg["directory_server"].(object)["v2_port"] = freePort(t)
	cfg["deakit"].(object)["directory_status_port"] = port
	cfg["status"] = object{"user": "u", "password": "p"}
	p = start(t, "-conf", write(t, cfg))
	assert.Equal(t, exitFailed, p.end())
	assert.Contains(t, p.text(), "deakit.directory_status_port: listen tcp 127.0.0.1")
}

// A front is a directory server before a file API that a test plays.
type front struct {
	*program
	t       *testing.T
	url     string
	metrics string
	log     string // file
}

// newFront starts a directory server for the file API at the port.
func newFront(t *testing.T, fileAPI int, settings object) *front {
	port, status := freePort(t), freePort(t)
	f := &front{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port), log: filepath.Join(t.TempDir(), "log"),
		metrics: fmt.Sprintf("http://u:p@127.0.0.1:%d/metrics", status)}
	server := object{"v2_port": port, "file_api_port": fileAPI, "logging": object{"level": "info", "file": f.log}}
	for key, value := range settings {
		server[key] = value
	}
	f.program = start(t, "-conf", write(t, object{
		"directory_server": server, "status": object{"user": "u", "password": "p"}, "index": 4,
		"deakit": object{"host": "127.0.0.1", "directory_status_port": status}, "nats_servers": "is not ours",
	}))
	f.logs("status")
	return f
}

// logs waits until the log file has a text.
func (f *front) logs(text string) string {
	f.t.Helper()
	var data []byte
	require.Eventually(f.t, func() bool {
		data, _ = os.ReadFile(f.log)
		return bytes.Contains(data, []byte(text))
	}, patience, 2*time.Millisecond, text)
	return string(data)
}

// newFileAPI plays the file API of a DEA; it says that a file is at path.
func newFileAPI(t *testing.T, path string) (port int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("hmac") != "good" {
			http.Error(w, `{"error":"Invalid HMAC"}`, http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"instance_path":%q}`, path)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}
