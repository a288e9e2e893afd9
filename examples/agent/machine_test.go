package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) {
	programtest.Main(m, func(args []string) int { return run(args, os.Stdout) }, nil)
}

const patience = time.Minute

type object = map[string]any

// A machine has an agent of its own: a process, which a test may kill and start again.
type machine struct {
	t     testing.TB
	dir   string   // all is below it
	base  string   // base directory of the agent
	args  []string // of the program
	shell []string // before the program, if any: what runs it
	ready string   // what it says when it is
	*programtest.Program
	agent *client.Client
}

// development is a machine in a directory, over HTTPS.
func development(t testing.TB) *machine {
	dir := t.TempDir()
	mbus := fmt.Sprintf("https://127.0.0.1:%d", programtest.FreePort(t))
	m := &machine{t: t, dir: dir, base: dir, args: []string{"--dev", dir, "-n", mbus}, ready: "takes requests at"}
	m.start()
	at, err := node.ReadAccess(dir)
	require.NoError(t, err)
	ca, err := os.ReadFile(at.CA)
	require.NoError(t, err)
	way, err := client.NewHTTPS(client.HTTPSConfig{URL: at.Mbus, CA: string(ca), RequireCA: true})
	require.NoError(t, err)
	t.Cleanup(way.Close)
	m.connect(way)
	return m
}

// overNATS is a machine with agent.json and a settings file, which change may change. Files of the system are below its root directory.
func overNATS(t testing.TB, server *messagingtest.Server, change func(settings object), args ...string) *machine {
	dir := t.TempDir()
	m := &machine{t: t, dir: dir, base: filepath.Join(dir, "vcap"), ready: "takes requests over NATS"}
	settings := object{
		"agent_id": "agent-1", "vm": object{"name": "vm-1"}, "mbus": server.URL(),
		"blobstore": object{"provider": "local", "options": object{"blobstore_path": m.store()}},
		"networks":  object{"default": object{"type": "manual", "ip": "10.0.0.21", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}},
	}
	if change != nil {
		change(settings)
	}
	m.json("settings.json", settings)
	m.json("agent.json", object{"Infrastructure": object{"Settings": object{"Sources": []object{
		{"Type": "File", "SettingsPath": filepath.Join(dir, "settings.json")},
	}}}})
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "root/etc"), 0o755))
	m.args = append([]string{"-C", filepath.Join(dir, "agent.json"), "-b", m.base, "-r", filepath.Join(dir, "root"), "-P", "ubuntu",
		"-l", "info", "-t", strconv.Itoa(programtest.FreePort(t))}, args...)
	m.start()
	way, err := client.NewNATS(client.NATSConfig{Conn: server.Connect(), AgentID: "agent-1", Timeout: patience})
	require.NoError(t, err)
	t.Cleanup(way.Close)
	m.connect(way)
	return m
}

func (m *machine) connect(way client.Transport) {
	m.agent = client.New(client.Config{Transport: way, Protocol: 3, PollDelay: 20 * time.Millisecond, Tolerate: 1000})
	m.awake()
}

// awake waits until the agent answers.
func (m *machine) awake() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(m.t, m.agent.WaitUntilReady(ctx))
}

func (m *machine) start() {
	m.t.Helper()
	self, err := os.Executable()
	require.NoError(m.t, err)
	command := slices.Concat(m.shell, []string{self}, m.args)
	m.Program = programtest.Launch(m.t, command[0], command[1:]...)
	m.Says(m.ready)
}

// again starts the agent after it was killed.
func (m *machine) again() {
	m.t.Helper()
	m.start()
	m.awake()
}

func (m *machine) json(name string, value any) {
	m.t.Helper()
	data, err := json.Marshal(value)
	require.NoError(m.t, err)
	require.NoError(m.t, os.WriteFile(filepath.Join(m.dir, name), data, 0o600))
}

// store is the directory of the blob store.
func (m *machine) store() string { return filepath.Join(m.dir, "blobstore") }

// file reads one below the base directory; "" if there is none.
func (m *machine) file(name string) string {
	data, _ := os.ReadFile(filepath.Join(m.base, name))
	return string(data)
}

type files map[string]string // by name; those below bin are programs

// archive puts files into a gzip'ed tar.
func archive(t testing.TB, content files) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	names := make([]string, 0, len(content))
	for name := range content {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		mode := int64(0o644)
		if strings.Contains(name, "bin/") {
			mode = 0o755
		}
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "./" + name, Mode: mode, Size: int64(len(content[name]))}))
		_, err := w.Write([]byte(content[name]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, zip.Close())
	return out.Bytes()
}

// blob puts an archive into the blob store, and returns its digest.
func (m *machine) blob(id string, content files) string {
	m.t.Helper()
	data := archive(m.t, content)
	require.NoError(m.t, os.MkdirAll(m.store(), 0o755))
	require.NoError(m.t, os.WriteFile(filepath.Join(m.store(), id), data, 0o644))
	sum, err := digest.Of(bytes.NewReader(data), digest.SHA1)
	require.NoError(m.t, err)
	return sum.String()
}

// source is that of a package whose program is a server that writes down that it runs.
func (m *machine) source() client.BlobRef {
	m.t.Helper()
	return client.BlobRef{Name: "tool", Version: "1.1", BlobID: "tool-source", SHA1: m.blob("tool-source", files{
		"packaging":      "set -e\necho compiling $BOSH_PACKAGE_NAME $BOSH_PACKAGE_VERSION\ncp -r src/bin $BOSH_INSTALL_TARGET/\n",
		"src/bin/server": "#!/bin/sh\nexec sleep 1000\n",
	})}
}

// spec is that of one job, web, which runs the program of a compiled package.
func (m *machine) spec(tool client.Compiled) client.ApplySpec {
	m.t.Helper()
	pid := filepath.Join(m.base, "sys/run/web/web.pid")
	ctl := fmt.Sprintf("#!/bin/sh\ncase $1 in\nstart) %[1]s/jobs/web/packages/tool/bin/server </dev/null >%[1]s/sys/log/web/web.log 2>&1 &\n"+
		"  echo $! >%[2]s;;\nstop) kill $(cat %[2]s); rm -f %[2]s;;\nesac\n", m.base, pid)
	m.t.Cleanup(func() {
		if pid := m.pid(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // a test that failed left it
		}
	})
	rendered := m.blob("rendered", files{
		"web/monit": fmt.Sprintf("check process web with pidfile %[2]s\n  start program \"%[1]s/jobs/web/bin/ctl start\" with timeout 10 seconds\n"+
			"  stop program \"%[1]s/jobs/web/bin/ctl stop\"\n  group vcap\n", m.base, pid),
		"web/bin/ctl": ctl,
		// Static where the machine is to go, dynamic else.
		"web/bin/drain":     fmt.Sprintf("#!/bin/sh\necho $* >>%[1]s/drained\ncase $1 in job_check_status|job_shutdown) echo 0;; *) echo -1;; esac\n", m.base),
		"web/bin/run":       fmt.Sprintf("#!/bin/sh\necho begun >%[1]s/begun\nuntil [ -e %[1]s/goon ]; do sleep 0.05; done\necho done; echo oops >&2; exit 3\n", m.base),
		"web/bin/pre-start": "#!/bin/sh\necho $GREETING\n",
		"web/config.txt":    "a template\n",
	})
	web := client.BlobRef{Name: "web", Version: "2"}
	return client.ApplySpec{
		Deployment: "demo", Name: "web", ID: "id-1", AZ: "z1", ConfigurationHash: "hash-1",
		Packages:          map[string]client.BlobRef{"tool": {Name: "tool", Version: "1.1", SHA1: tool.SHA1, BlobID: tool.BlobID}},
		Networks:          map[string]map[string]any{"default": {"type": "manual", "ip": "10.0.0.21", "netmask": "255.255.255.0", "gateway": "10.0.0.1", "unknown": object{"x": nil}}},
		Job:               client.JobSpec{Name: "web", Templates: []client.BlobRef{web}},
		RenderedTemplates: client.ArchiveRef{BlobID: "rendered", SHA1: rendered},
	}
}

// pid is that of the server; 0 when there is none.
func (m *machine) pid() int {
	pid, _ := strconv.Atoi(strings.TrimSpace(m.file("sys/run/web/web.pid")))
	return pid
}

// becomes waits for a state of the jobs.
func (m *machine) becomes(want messaging.JobState) client.State {
	m.t.Helper()
	var state client.State
	require.Eventually(m.t, func() bool {
		var err error
		state, err = m.agent.State(context.Background())
		return assert.NoError(m.t, err) && state.JobState == want
	}, patience, 50*time.Millisecond, "%s", want)
	return state
}

// gone tells whether a process has ended, also when nobody has asked how.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// until waits for a message that fits.
func until(t testing.TB, from <-chan *nats.Msg, fits func(*nats.Msg) bool) *nats.Msg {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case msg := <-from:
			if fits(msg) {
				return msg
			}
		case <-late:
			t.Fatal("no such message came")
		}
	}
}

func (m *machine) write(name, content string) {
	m.t.Helper()
	require.NoError(m.t, os.WriteFile(filepath.Join(m.base, name), []byte(content), 0o644))
}

// explain shows what monit has noted when a test has failed.
func (m *machine) explain() {
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Log(m.file("monit/monit.log"))
		}
	})
}
