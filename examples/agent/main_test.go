package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func parse(t *testing.T, args ...string) (*cli, error) {
	t.Helper()
	c := &cli{}
	parser, err := kong.New(c, kong.NoDefaultHelp())
	require.NoError(t, err)
	_, err = parser.Parse(goFlags(args))
	return c, err
}

func TestHelpAndVersion(t *testing.T) {
	var out bytes.Buffer
	assert.Equal(t, exitOK, run([]string{"--help"}, &out))
	for _, said := range []string{"-h, --heartbeat-interval", "--no-alerts", "-I, --infrastructure", "-C, --config", "Exit codes:", "what else is on it is lost", "ServiceManager"} {
		assert.Contains(t, out.String(), said)
	}
	out.Reset()
	assert.Equal(t, exitOK, run([]string{"-v"}, &out))
	assert.NotEmpty(t, strings.TrimSpace(out.String()))
}

// The command lines of both originals are understood.
func TestCommandLines(t *testing.T) {
	c, err := parse(t, "-I", "dummy", "-c", "-P", "ubuntu", "-n", "nats://u:p@h:4222", "-a", "id-1", "-b", "/b", "-l", "warn", "-t", "2826",
		"-h", "15", "-r", "/r", "-p", "local", "-s", "/var/blobs", "--no-alerts")
	require.NoError(t, err)
	cfg, err := c.config(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	assert.Equal(t, "/b", cfg.Base)
	assert.Equal(t, "/r", cfg.Root)
	assert.Equal(t, "id-1", cfg.Default.AgentID)
	assert.Equal(t, "nats://u:p@h:4222", cfg.Default.Mbus)
	assert.Equal(t, map[string]any{"blobstore_path": "/var/blobs"}, cfg.Default.Blobstore.Options)
	assert.Equal(t, node.Monit, cfg.Supervisor)
	assert.Equal(t, "127.0.0.1:2826", cfg.SMTP)
	assert.Equal(t, "15s", cfg.Heartbeat.String())
	assert.True(t, cfg.NoAlerts)
	assert.Equal(t, slog.LevelWarn, c.level())
	for name, want := range map[string]string{"vsphere": "scsi", "openstack": "virtio", "dummy": ""} {
		c, err := parse(t, "-c", "-I", name)
		require.NoError(t, err)
		cfg, err := c.config(slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		assert.Equal(t, want, cfg.Linux.DevicePathResolutionType, name)
	}

	c, err = parse(t, "-n", "https://vcap:pw@10.0.0.1:6868", "-p", "simple", "-s", "http://agent:pw@10.0.0.5:25250", "-h", "0")
	require.NoError(t, err)
	cfg, err = c.config(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	assert.Empty(t, cfg.Root, "nothing outside of the base directory is written")
	assert.Equal(t, node.None, cfg.Supervisor)
	assert.Negative(t, cfg.Heartbeat)
	assert.Equal(t, map[string]any{"user": "agent", "password": "pw", "endpoint": "http://10.0.0.5:25250"}, cfg.Default.Blobstore.Options)

	config := filepath.Join(t.TempDir(), "agent.json")
	require.NoError(t, os.WriteFile(config, []byte(`{"Platform":{"Linux":{"DevicePathResolutionType":"virtio"}},
		"Infrastructure":{"Settings":{"Sources":[{"Type":"File","SettingsPath":"/s.json"}]}}}`), 0o600))
	for _, args := range [][]string{
		{"-P", "ubuntu", "-C", config, "-M", "monit", "-no-alerts"},
		{"--P", "ubuntu", "--C=" + config, "-M=monit", "--no-alerts"},
	} {
		c, err = parse(t, args...)
		require.NoError(t, err)
		cfg, err = c.config(slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		assert.Equal(t, "virtio", cfg.Linux.DevicePathResolutionType)
		assert.Equal(t, "/", cfg.Root)
		assert.True(t, cfg.NoAlerts)
	}
}

func TestCommandLinesThatMakeNoSense(t *testing.T) {
	for _, test := range []struct {
		says string
		args []string
	}{
		{"use either", []string{"-C", "x", "-I", "aws"}},
		{"infrastructure 'moon' not found", []string{"-c", "-I", "moon"}},
		{"platform 'beos' not found", []string{"-P", "beos"}},
		{"supervisor 'dummy-nats' not found", []string{"-M", "dummy-nats"}},
		{"log level 'loud' not found", []string{"-l", "loud"}},
		{"--dev makes settings of its own", []string{"--dev", "x", "-c"}},
		{"leave out --setup and --power-off", []string{"--dev", "x", "--setup", "hostname"}},
		{"leave out hostname of --setup", []string{"-P", "dummy", "--setup", "disks,hostname"}},
		{"--setup", []string{"--setup", "networks"}},
		{"heartbeat-interval", []string{"-h", "soon"}},
	} {
		_, err := parse(t, test.args...)
		require.ErrorContains(t, err, test.says)
		assert.Equal(t, exitUsage, run(test.args, &bytes.Buffer{}))
	}
}

// What cannot work is told, with status 1.
func TestStartThatFails(t *testing.T) {
	t.Parallel()
	half := filepath.Join(t.TempDir(), "agent.json")
	require.NoError(t, os.WriteFile(half, []byte(`{"Infrastructure":{"Settings":{"Sources":[{"Type":"Moon"}]}}}`), 0o600))
	for _, test := range []struct {
		says string
		args []string
	}{
		{"no such file", []string{"-C", "/none/agent.json"}},
		{"no such file", []string{"-P", "dummy", "-C", "/none/agent.json"}},
		{half + ": ", []string{"-C", half}},
		{"dummy-cpi-agent-env.json", []string{"-c", "-I", "dummy"}},
		{"with a port", []string{"-n", "https://vcap:secret-word@127.0.0.1"}},
		{"executable file not found", []string{"-n", "nats://127.0.0.1:1", "-M", "monit", "--monit", "no-such-monit", "-t", strconv.Itoa(programtest.FreePort(t))}},
	} {
		base := filepath.Join(t.TempDir(), "vcap")
		p := programtest.Start(t, append(test.args, "-b", base)...)
		assert.Equal(t, exitFailed, p.End())
		if !slices.Contains(test.args, "-n") {
			assert.NoDirExists(t, base, "nothing is made before there are settings: %q", test.args)
		}
		assert.Contains(t, p.Text(), test.says)
		assert.NotContains(t, p.Text(), "secret-word")
	}
}

// Two agents never work on one base directory.
func TestOneAgentPerDirectory(t *testing.T) {
	t.Parallel()
	m := development(t)
	second := programtest.Start(t, m.args...)
	assert.Equal(t, exitFailed, second.End())
	assert.Contains(t, second.Text(), "agent.pid")
	require.NoError(t, m.agent.Ping(t.Context()))
}

// A bare agent takes what the options say, as that of the tools for a single machine did: over HTTPS, with a certificate of its own.
func TestBareAgent(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "vcap")
	mbus := "https://vcap:pw@127.0.0.1:" + strconv.Itoa(programtest.FreePort(t))
	p := programtest.Start(t, "-n", mbus, "-b", base, "-a", "micro")
	p.Says("Agent micro takes requests at https://127.0.0.1:")
	p.Says(", and works in " + base + ".\n")
	ca, err := os.ReadFile(filepath.Join(base, "bosh/agent.cert"))
	require.NoError(t, err)
	way, err := client.NewHTTPS(client.HTTPSConfig{URL: mbus, CA: string(ca), RequireCA: true})
	require.NoError(t, err)
	defer way.Close()
	agent := client.New(client.Config{Transport: way})
	require.NoError(t, agent.Ping(t.Context()))
	require.NoError(t, agent.Shutdown(t.Context()))
	assert.Equal(t, exitShutdown, p.End())
	assert.NotContains(t, p.Text(), "pw@")
}

// New settings end the agent with status 0, and its successor answers for the task that brought them.
func TestNewSettings(t *testing.T) {
	t.Parallel()
	server, other := messagingtest.NewServer(t), messagingtest.NewServer(t)
	m := overNATS(t, server, nil, "-M", "dummy")
	task, err := m.agent.Start(t.Context(), "update_settings", client.UpdateSettings{Mbus: &client.Mbus{URLs: []string{other.URL()}}})
	require.NoError(t, err)
	assert.Equal(t, exitOK, m.End())
	m.start()
	way, err := client.NewNATS(client.NATSConfig{Conn: other.Connect(), AgentID: "agent-1", Timeout: patience})
	require.NoError(t, err)
	defer way.Close()
	m.connect(way)
	value, err := m.agent.Resume(task.Method, task.ID).Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, `"ok"`, string(value))
}

// Nobody starts the agent of a directory again but itself.
func TestNewSettingsInADirectory(t *testing.T) {
	t.Parallel()
	m := development(t)
	stores := json.RawMessage(`[{"provider":"local","options":{"blobstore_path":"` + t.TempDir() + `"}}]`)
	require.NoError(t, m.agent.UpdateSettings(t.Context(), client.UpdateSettings{Blobstores: stores}))
	m.Says("agent.again")
	require.NoError(t, m.agent.WaitUntilReady(t.Context()))
	m.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, m.End())
	last := strings.TrimSpace(m.Text())
	assert.Contains(t, last[strings.LastIndexByte(last, '\n')+1:], "msg=agent.ended")
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	m := development(t)
	ctx := t.Context()
	_, err := m.agent.Call(ctx, "make_coffee")
	require.ErrorIs(t, err, client.ErrUnsupported)
	require.ErrorContains(t, err, "unknown message make_coffee")
	_, err = m.agent.Call(ctx, "mount_disk")
	require.ErrorContains(t, err, "Not enough arguments, expected 1, got 0")
	for method, arguments := range map[string][]any{
		"apply":           {"no object"},
		"run_script":      {"../../../bin/sh", object{}},
		"upload_blob":     {object{"blob_id": "../x", "checksum": "da39a3ee5e6b4b0d3255bfef95601890afd80709", "payload": ""}},
		"compile_package": {"blob", "", "../../x", "1", object{}},
		"drain":           {"sideways"},
		"fetch_logs":      {"weird", []string{}},
		"remove_file":     {"/"},
	} {
		_, err := m.agent.Run(ctx, method, arguments...)
		var remote *client.RemoteError
		require.ErrorAs(t, err, &remote, method)
	}
	require.NoError(t, m.agent.Ping(ctx))
	m.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, m.End())
}
