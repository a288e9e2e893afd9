package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/examples/internal/programtest"
)

func TestMain(m *testing.M) {
	programtest.Main(m, run, func() { _ = os.RemoveAll(builtIn) })
}

const patience = programtest.Patience

type object = map[string]any

// write writes a configuration file.
func write(t *testing.T, cfg object) string {
	data, err := yaml.Marshal(cfg)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "dea.yml")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return file
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	sample := "../dea/dea.yml"
	for _, tc := range []struct {
		args []string
		code int
		text string
	}{
		{nil, exitUsage, "give one configuration file: -conf FILE; try --help"},
		{[]string{"-conf"}, exitUsage, "-conf needs the name of a configuration file; try --help"},
		{[]string{"-conf", sample, "more"}, exitUsage, "give one configuration file"},
		{[]string{sample, "more"}, exitUsage, "more"},
		{[]string{sample, "--check"}, exitOK, "can be used; warnings: 0"},
		{[]string{"--help"}, exitOK, "TERM, INT, QUIT"},
		{[]string{"-conf", sample, "--check"}, exitOK, "can be used; warnings: 0"},
		{[]string{"-conf=" + sample, "--check"}, exitOK, "can be used"},
		{[]string{"--conf", sample, "--check"}, exitOK, "can be used"},
		{[]string{"-conf", sample, "--under", "/no/such/directory"}, exitUsage, "/no/such/directory"},
		{[]string{"-conf", "/no/such/file"}, exitFailed, "/no/such/file: no such file or directory"},
		{[]string{"-conf", write(t, object{"directory_server": object{"v2_port": "x", "file_api_port": 1}})}, exitFailed,
			"dea.yml:3: directory_server.v2_port: must be a port number from 1 to 65535"},
		{[]string{"-conf", write(t, object{"directory_server": object{"v2_port": "x"}, "deakit": object{"directory_cahce": 1}})}, exitFailed,
			"warning: "},
		{[]string{"--check", write(t, object{"directory_server": object{"v2_port": 1, "file_api_port": 2, "logging": object{"level": "info", "file": "/no/such/x"}}})},
			exitOK, "directory_server.logging.file: /no/such/x cannot be written: no such file or directory"},
		{[]string{"-conf", write(t, object{"directory_server": object{"v2_port": 1, "file_api_port": 2}, "deakit": object{"host": "192.0.2.1"}})},
			exitFailed, "set deakit.host to an address of this machine"},
	} {
		p := programtest.Start(t, tc.args...)
		assert.Equal(t, tc.code, p.End(), tc.args)
		assert.Contains(t, p.Text(), tc.text)
	}
}

// A port that is taken is told with its key, before anything is served.
func TestPortsThatAreTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	cfg := object{
		"directory_server": object{"v2_port": port, "file_api_port": programtest.FreePort(t)},
		"deakit":           object{"host": "127.0.0.1"},
	}
	p := programtest.Start(t, "-conf", write(t, cfg))
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "directory_server.v2_port: listen tcp 127.0.0.1")
	assert.Contains(t, p.Text(), "--no-directory-server")

	cfg["directory_server"].(object)["v2_port"] = programtest.FreePort(t)
	cfg["deakit"].(object)["directory_status_port"] = port
	cfg["status"] = object{"user": "u", "password": "p"}
	p = programtest.Start(t, "-conf", write(t, cfg))
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "deakit.directory_status_port: listen tcp 127.0.0.1")
}

// A front is a directory server before a file API that a test plays.
type front struct {
	*programtest.Program
	t       *testing.T
	url     string
	metrics string
	log     string // file
}

// newFront starts a directory server for the file API at the port.
func newFront(t *testing.T, fileAPI int, settings object) *front {
	port, status := programtest.FreePort(t), programtest.FreePort(t)
	f := &front{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port), log: filepath.Join(t.TempDir(), "log"),
		metrics: fmt.Sprintf("http://u:p@127.0.0.1:%d/metrics", status)}
	server := object{"v2_port": port, "file_api_port": fileAPI, "logging": object{"level": "info", "file": f.log}}
	for key, value := range settings {
		server[key] = value
	}
	f.Program = programtest.Start(t, "-conf", write(t, object{
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
