package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) { programtest.Main(m, run, nil) }

// program runs the binary to its end.
func program(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	p := programtest.Start(t, args...)
	return p.End(), p.Text()
}

// end sends a signal and returns the exit code.
func end(p *programtest.Program, sig syscall.Signal) int {
	p.Signal(sig)
	return p.End()
}

func configFile(t *testing.T, dir, text string) string {
	t.Helper()
	name := filepath.Join(dir, "warden.yml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func connect(t *testing.T, dir string) *warden.Backend {
	t.Helper()
	var b *warden.Backend
	var err error
	require.Eventually(t, func() bool {
		b, err = warden.New(t.Context(), warden.Options{Address: filepath.Join(dir, "sock"), StateDir: filepath.Join(dir, "client")})
		return err == nil
	}, 20*time.Second, 20*time.Millisecond)
	return b
}

func TestServer(t *testing.T) {
	t.Run(backends.Process, func(t *testing.T) { serves(t, backends.Process, "depot") })
	t.Run(backends.Runc, func(t *testing.T) {
		needs.Root(t)
		needs.Tool(t, "runc", "runc")
		serves(t, backends.Runc, "depot-runc")
	})
}

func serves(t *testing.T, backend, depot string) {
	dir, err := os.MkdirTemp("", "warden")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	port := programtest.FreePort(t)
	cfg := configFile(t, dir, fmt.Sprintf(`
server:
  unix_domain_path: %[1]s/sock
  unix_domain_permissions: 0700
  container_klass: Warden::Container::Linux
  container_depot_path: %[1]s/depot
  container_rlimits: {nofile: 321}
  pidfile: %[1]s/pid
health_check_server: {port: %[2]d}
`, dir, port))
	s := programtest.Start(t, "--backend", backend, cfg)
	b := connect(t, dir)
	assert.Equal(t, backend == backends.Runc, b.Capabilities().RootFS)
	info, err := os.Stat(filepath.Join(dir, "sock"))
	require.NoError(t, err)
	assert.EqualValues(t, 0o700, info.Mode().Perm())
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Equal(t, 200, answer.StatusCode)

	c, err := b.Create(t.Context(), container.Spec{Handle: "stays"})
	require.NoError(t, err)
	var out bytes.Buffer
	p, err := c.Run(t.Context(), container.ProcessSpec{Path: "sh", Args: []string{"-c", "ulimit -n"}}, container.IO{Stdout: &out})
	require.NoError(t, err)
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "321\n", out.String())
	p, err = c.Run(t.Context(), container.ProcessSpec{Path: "sh", Args: []string{"-c", "while [ ! -e go ]; do sleep 0.02; done; exit 7"}}, container.IO{})
	require.NoError(t, err)

	code, text := program(t, "--backend", backend, cfg)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, text, "already running")

	// The next one takes over what this one leaves.
	assert.Equal(t, exitOK, end(s, syscall.SIGUSR2), s.Text())
	assert.NoFileExists(t, filepath.Join(dir, "pid"))
	s = programtest.Start(t, "--destroy", "--backend", backend, cfg)
	require.Eventually(t, func() bool { _, err := c.Info(t.Context()); return err == nil }, 20*time.Second, 20*time.Millisecond)
	inside, err := c.Info(t.Context())
	require.NoError(t, err)
	file, ok := inside.OnHost("/home/vcap/go")
	require.True(t, ok)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 7, status)
	require.NoError(t, b.Close(context.Background()))
	assert.Equal(t, exitOK, end(s, syscall.SIGTERM), s.Text())
	assert.DirExists(t, filepath.Join(dir, depot))
	assert.NoDirExists(t, filepath.Join(dir, depot, "stays"))
	assert.Contains(t, s.Text(), "container_klass has no effect")
	assert.Contains(t, s.Text(), "not_enforced")
}

func TestWrongConfigurations(t *testing.T) {
	for text, want := range map[string]string{
		"server: [": "yaml",
		"server: {unix_domain_permissions: 99999}":        "unix_domain_permissions",
		"server: {container_grace_time: soon}":            "container_grace_time",
		"server: {container_grace_time: -3}":              "container_grace_time",
		"server: {container_rlimits: {files: 3}}":         "container_rlimits.files",
		"server: {container_rlimits: {nofile: many}}":     "many",
		"port: {pool_start_port: 65000, pool_size: 1000}": "pool_size",
		"port: {pool_start_port: 65000}":                  "pool_size",
		"deakit: {stop_grace_time: -1}":                   "stop_grace_time",
		"deakit: {stop_grace_time: .nan}":                 "stop_grace_time",
		"health_check_server: {port: 99999}":              "99999",
		"logging: {level: loud}":                          "logging.level",
		"deakit: {log_format: xml}":                       "deakit.log_format",
		"server: 3":                                       "into main.serverConfig\n",

		"network: {allow_networks: [0.0.0.0/0], deny_networks: [10.0.0.0/8]}": "deny_networks",
		"server: {job_output_limit: 99999999999}":                             "server.job_output_limit",
		"network: {allow_networks: [10.0.0.0/8, example.org]}":                "network.allow_networks: ",
	} {
		code, out := program(t, "--check", configFile(t, t.TempDir(), text))
		assert.Equal(t, exitFailed, code, text)
		assert.Contains(t, out, want, text)
	}
	code, out := program(t, filepath.Join(t.TempDir(), "missing.yml"))
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, out, "missing.yml")
	code, _ = program(t)
	assert.Equal(t, exitUsage, code)
	code, _ = program(t, "--backend=none", "x.yml")
	assert.Equal(t, exitUsage, code)
}

func TestGraceTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "server: {container_grace_time: }": -1, "server: {container_grace_time: null}": -1,
		"server: {container_grace_time: 0}": 1, "server: {container_grace_time: 300}": 300 * time.Second,
	} {
		cfg, _, err := load(configFile(t, t.TempDir(), text))
		require.NoError(t, err, text)
		assert.Equal(t, want, cfg.graceTime, text)
	}
}

// TestSample checks that the sample shows the defaults, and keys that exist.
func TestSample(t *testing.T) {
	text, err := os.ReadFile("warden.yml")
	require.NoError(t, err)
	code, out := program(t, "--check", configFile(t, t.TempDir(), string(text)))
	assert.Equal(t, exitOK, code, out)
	assert.Contains(t, out, "0 warnings")
	all := regexp.MustCompile(`(?m)^(\s*)#(\s*[a-z_]+:)`).ReplaceAllString(string(text), "$1$2")
	code, out = program(t, "--check", configFile(t, t.TempDir(), all))
	assert.Equal(t, exitOK, code, out)
	assert.Contains(t, out, "0 warnings", out)

	cfg, _, err := load(configFile(t, t.TempDir(), all))
	require.NoError(t, err)
	none, _, err := load(configFile(t, t.TempDir(), ""))
	require.NoError(t, err)
	assert.Equal(t, none.Server.Path, cfg.Server.Path)
	assert.Equal(t, none.Server.Permissions, cfg.Server.Permissions)
	assert.Equal(t, none.Server.Depot, cfg.Server.Depot)
	assert.Equal(t, none.Deakit.StateDir, cfg.Deakit.StateDir)
	assert.Equal(t, none.Health.Port, cfg.Health.Port)

	_, out = program(t, "--check", configFile(t, t.TempDir(), "server: {typo: 1}\nnetwork: {mtu: 1400}"))
	assert.Contains(t, out, "typo")
	assert.Contains(t, out, "network.mtu has no effect")
	assert.Equal(t, 2, strings.Count(out, "warning:"))
}
