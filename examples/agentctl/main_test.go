package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) {
	programtest.Main(m, func(args []string) int { return run(args, os.Stdout) }, nil)
}

// startAgent runs an agent in a directory, here, until the test ends. Without mbus it is over HTTPS.
func startAgent(t *testing.T, mbus string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	startAgentIn(t, dir, mbus)
	return dir
}

func startAgentIn(t *testing.T, dir, mbus string) {
	t.Helper()
	if mbus == "" {
		mbus = "https://127.0.0.1:" + strconv.Itoa(programtest.FreePort(t))
	}
	cfg, err := node.Development(dir, "dev", mbus)
	require.NoError(t, err)
	ready := make(chan node.Place, 1)
	cfg.Ready = func(at node.Place) { ready <- at }
	n, err := node.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		require.NoError(t, err)
	}
}

// ctl runs the program in this process.
func ctl(t *testing.T, want int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	require.Equal(t, want, run(append([]string{"--quiet"}, args...), &out), "%v: %s", args, out.String())
	return out.String()
}

func write(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

func TestCommands(t *testing.T) {
	dir := startAgent(t, "")
	do := func(args ...string) string {
		return ctl(t, exitOK, append([]string{"--dev", dir, "--poll", "10ms"}, args...)...)
	}
	assert.Equal(t, "pong\n", do("ping"))
	assert.JSONEq(t, `{"api_version":1}`, do("info"))
	assert.Equal(t, "nope\n", do("call", "noop"))
	assert.Contains(t, do("state"), "agent  dev\njobs   running\n")
	assert.Contains(t, do("state", "--full"), "vitals")
	var state map[string]any
	require.NoError(t, json.Unmarshal([]byte(do("--json", "state")), &state))
	assert.Equal(t, "dev", state["agent_id"])

	spec := write(t, `{"deployment":"d","job":{"name":"j","templates":[]},"packages":{},"networks":{},"configuration_hash":""}`)
	assert.Equal(t, "applied\n", do("apply", spec))
	assert.Equal(t, "prepared\n", do("prepare", spec))
	assert.Equal(t, "started\n", do("start"))
	assert.Equal(t, "0\n", do("drain", "shutdown"))
	assert.Equal(t, "stopped\n", do("stop"))
	assert.Equal(t, "{}\n", do("script", "pre-start", "--env", "A=b"))
	assert.Contains(t, do("logs", "job", "**/*.log"), "blobstore_id")

	assert.Equal(t, "{}\n", do("disks", "add", "disk-1", "/dev/sdb"))
	assert.Equal(t, "{}\n", do("disks", "mount", "disk-1"))
	assert.Contains(t, do("disks", "list"), "disk-1")
	assert.Equal(t, "{}\n", do("disks", "add", "disk-2", `{"path":"/dev/sdc"}`))
	assert.Equal(t, "{}\n", do("disks", "mount", "disk-2"))
	assert.Equal(t, "{}\n", do("disks", "migrate"))
	assert.Contains(t, do("disks", "unmount", "disk-2"), "Unmounted")
	assert.Equal(t, "{}\n", do("disks", "remove", "disk-1"))

	content := write(t, "content")
	assert.Equal(t, "blob-1\n", do("upload", "blob-1", content))
	secret := programtest.Start(t, "--dev", dir, "blob", "get", "blob-1")
	assert.Equal(t, exitFailed, secret.End())
	assert.Contains(t, secret.Text(), "what upload brought cannot be read back")
	do("blob", "put", "blob-2", content)
	assert.Equal(t, "content", do("blob", "get", "blob-2"))
	copied := filepath.Join(t.TempDir(), "copy")
	do("blob", "get", "blob-2", "-o", copied)
	assert.FileExists(t, copied)
	archive := filepath.Join(t.TempDir(), "logs.tgz")
	do("logs", "job", "-o", archive)
	assert.FileExists(t, archive)
	var logs client.Logs
	require.NoError(t, json.Unmarshal([]byte(do("logs", "job")), &logs))
	assert.NotEmpty(t, do("blob", "get", logs.BlobID))
	assert.Equal(t, "ok\n", do("settings", write(t, `{"trusted_certs":"","disk_associations":[]}`)))
}

// Who starts an agent in the background and talks to it at once need not wait for it; who names another directory is told so.
func TestAgentThatComesUp(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "agent")
	early := programtest.Start(t, "--dev", dir, "ping")
	early.Says("no agent in " + dir + " yet")
	startAgentIn(t, dir, "")
	assert.Equal(t, exitOK, early.End())
	assert.Contains(t, early.Text(), "pong\n")

	never := programtest.Start(t, "--dev", "/none", "ping")
	assert.Equal(t, exitFailed, never.End())
	assert.Contains(t, never.Text(), "/none is no directory of a development agent: start one there first")
	assert.NoDirExists(t, "/none")

	// One that has ended.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bosh/dev.json"), []byte(`{"agent_id":"dev","mbus":"https://a:b@127.0.0.1:1"}`), 0o600))
	gone := programtest.Start(t, "--dev", dir, "--insecure", "ping")
	assert.Equal(t, exitUnreachable, gone.End())
	assert.Contains(t, gone.Text(), "connection refused")
}

// A password on the command line is there for all users of the machine to read.
func TestAgentOfTheEnvironment(t *testing.T) {
	dir := startAgent(t, "")
	access, err := node.ReadAccess(dir)
	require.NoError(t, err)
	t.Setenv("AGENTCTL_MBUS", access.Mbus)
	assert.Equal(t, "pong\n", ctl(t, exitOK, "--ca", access.CA, "ping"))
	ctl(t, exitUnreachable, "-m", "https://127.0.0.1:1", "--insecure", "ping")
	t.Setenv("AGENTCTL_MBUS", "https://127.0.0.1:1")
	assert.Equal(t, "pong\n", ctl(t, exitOK, "--dev", dir, "ping"), "what is said counts first")
}

func TestExitCodes(t *testing.T) {
	dir := startAgent(t, "")
	at, err := node.ReadAccess(dir)
	require.NoError(t, err)
	_, host, _ := strings.Cut(at.Mbus, "@")
	ctl(t, exitUnsupported, "--dev", dir, "call", "make_coffee")
	ctl(t, exitFailed, "--dev", dir, "call", "mount_disk")
	ctl(t, exitFailed, "--dev", dir, "disks", "mount", "vol-9")
	ctl(t, exitFailed, "--dev", dir, "task", "get", "nobody")
	ctl(t, exitFailed, "--dev", dir, "task", "cancel", "nobody")
	ctl(t, exitFailed, "--dev", dir, "call", "drain", "no JSON")
	ctl(t, exitFailed, "--dev", dir, "apply", "/none")
	ctl(t, exitFailed, "--dev", t.TempDir(), "ping")
	ctl(t, exitDenied, "-m", "https://vcap:wrong@"+host, "--insecure", "ping")
	ctl(t, exitUnreachable, "-m", "https://vcap:pw@127.0.0.1:1", "--insecure", "ping")
	ctl(t, exitUnreachable, "-m", "nats://127.0.0.1:1", "--agent", "x", "--timeout", "100ms", "ping")
	ctl(t, exitUnreachable, "-m", "nats://127.0.0.1:1", "--agent", "x", "ping") // at once: not after the time for a reply
	ctl(t, exitUsage, "-m", "nats://127.0.0.1:1", "ping")
	ctl(t, exitUsage, "-m", "http://vcap:pw@"+host, "ping")
	ctl(t, exitUsage, "--dev", "", "ping")
	ctl(t, exitUsage, "--dev", dir, "blob", "get", "a/b")
	ctl(t, exitUsage, "--dev", dir, "upload", "../x", write(t, "content"))
	ctl(t, exitFailed, "--dev", dir, "blob", "get", "nobody")
	ctl(t, exitUsage, "drain", "sideways")
	ctl(t, exitUsage, "sing")
	ctl(t, exitUsage, "--protocol", "4", "ping")
	ctl(t, exitUsage, "--protocol=-1", "ping")
	ctl(t, exitUsage, "--dev", dir, "-m", at.Mbus, "ping")
	assert.NotEmpty(t, strings.TrimSpace(ctl(t, exitOK, "--version")))
	assert.Contains(t, ctl(t, exitOK, "--help"), "Exit codes:")

	// The form of agent_client, of which the certificate was nobody's concern.
	assert.Equal(t, "pong\n", ctl(t, exitOK, "-m", at.Mbus, "ping"))
	assert.Contains(t, ctl(t, exitOK, "-m", at.Mbus, "state"), "running")
}

func TestExplain(t *testing.T) {
	for message, want := range map[string]string{
		"Action Failed get_task: Task 9e1-2 result: no such disk": "the agent says: no such disk",
		"Action Failed mount_disk: no such disk":                  "the agent says: no such disk",
		"unknown message sing":                                    "the agent says: unknown message sing",
	} {
		assert.Equal(t, want, explain(&client.RemoteError{Method: "get_task", Message: message}))
	}
	assert.Equal(t, "interrupted", explain(errInterrupted))
}

func TestOverNATS(t *testing.T) {
	nats := messagingtest.NewServer(t)
	dir := startAgent(t, nats.URL())
	assert.Equal(t, "pong\n", ctl(t, exitOK, "--dev", dir, "ping"), "it may not have subscribed yet")
	assert.Equal(t, "pong\n", ctl(t, exitOK, "-m", nats.URL(), "--agent", "dev", "ping"))
	assert.Equal(t, "[]\n", ctl(t, exitOK, "-m", nats.URL(), "--agent", "dev", "disks", "list"))
	ctl(t, exitUnreachable, "-m", nats.URL(), "--agent", "other", "ping")
	nobody := programtest.Start(t, "-m", nats.URL(), "--agent", "nosuch", "ping")
	assert.Equal(t, exitUnreachable, nobody.End())
	assert.Contains(t, nobody.Text(), "nobody takes requests as nosuch")
	ctl(t, exitFailed, "--dev", dir, "blob", "get", "x")

	locked := messagingtest.NewServer(t, func(o *server.Options) { o.Username, o.Password = "director", "secret" })
	at := strings.TrimPrefix(locked.URL(), "nats://")
	at = at[strings.LastIndex(at, "@")+1:]
	ctl(t, exitDenied, "-m", "nats://director:wrong@"+at, "--agent", "x", "ping")
}

// An agent that moves cannot be asked any more where it was, as was meant. One in a directory is found where it is now.
func TestNewBus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg, err := node.Development(dir, "", "https://127.0.0.1:"+strconv.Itoa(programtest.FreePort(t)))
	require.NoError(t, err)
	n, err := node.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		if err := n.Run(ctx); !errors.Is(err, node.ErrRestart) {
			ended <- err
			return
		}
		ended <- n.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
	moved := "127.0.0.1:" + strconv.Itoa(programtest.FreePort(t))
	p := programtest.Start(t, "--dev", dir, "--poll", "10ms", "settings", write(t, `{"mbus":{"urls":["https://u:secret-word@`+moved+`"]}}`))
	assert.Equal(t, exitOK, p.End())
	assert.Contains(t, p.Text(), "the agent starts again with the new settings, at "+moved+"\n")
	assert.Equal(t, 1, strings.Count(p.Text(), "asking again"))
	assert.NotContains(t, p.Text(), "secret-word")
	assert.Equal(t, "pong\n", ctl(t, exitOK, "--dev", dir, "ping"))
	ctl(t, exitFailed, "--dev", dir, "settings", write(t, `{"mbus":{"urls":["nonsense"]}}`))
}

// The errand of a job that was put into the directory by hand: how it ends is the exit code, and an interrupt ends it.
func TestErrand(t *testing.T) {
	dir := startAgent(t, "")
	ctl(t, exitOK, "--dev", dir, "apply", write(t, `{"job":{"name":"j","templates":[{"name":"smoke","version":"1"}]},"packages":{},"networks":{}}`))
	bin := filepath.Join(dir, "jobs/smoke/bin")
	require.NoError(t, os.MkdirAll(bin, 0o755))
	script := "#!/bin/sh\necho out\nif [ -e " + dir + "/stay ]; then touch " + dir + "/begun; exec sleep 1000; fi\nexit 3\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "run"), []byte(script), 0o755))
	assert.Equal(t, "out\n", ctl(t, exitErrand, "--dev", dir, "errand", "smoke"))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "stay"), nil, 0o600))
	p := programtest.Start(t, "--dev", dir, "--poll", "10ms", "errand", "smoke")
	begun := func() bool { _, err := os.Stat(filepath.Join(dir, "begun")); return err == nil }
	require.Eventually(t, begun, programtest.Patience, 10*time.Millisecond)
	p.Says("under way")
	p.Signal(syscall.SIGINT)
	assert.Equal(t, exitErrand, p.End())
	assert.Contains(t, p.Text(), "exit code 143")

	// What cannot be cancelled goes on, and its task can be asked for.
	require.NoError(t, os.WriteFile(filepath.Join(bin, "pre-start"), []byte("#!/bin/sh\nuntil [ -e "+dir+"/goon ]; do sleep 0.05; done\n"), 0o755))
	p = programtest.Start(t, "--dev", dir, "--poll", "10ms", "script", "pre-start")
	p.Says("under way")
	p.Signal(syscall.SIGINT)
	assert.Equal(t, exitInterrupted, p.End())
	_, id, found := strings.Cut(p.Text(), "agentctl task get ")
	require.True(t, found, p.Text())
	id = strings.TrimSpace(id)
	assert.Equal(t, "running\n", ctl(t, exitOK, "--dev", dir, "task", "get", id))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "goon"), nil, 0o600))
	assert.Equal(t, "{}\n", ctl(t, exitOK, "--dev", dir, "task", "get", "--wait", id))
}
