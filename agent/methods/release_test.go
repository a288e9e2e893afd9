package methods_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/agent/monit"
	"github.com/deakit/deakit/messaging"
)

// job has a process, and scripts of all kinds.
func (n *node) job(name string) blobtest.Files {
	pid := n.path("data/sys/run/" + name + "/" + name + ".pid")
	script := func(text string) string { return "#!/bin/bash\n" + text + "\n" }
	return blobtest.Files{
		name + "/": "", name + "/bin/": "",
		name + "/monit": fmt.Sprintf("check process %s\n  with pidfile %s\n  start program \"%s start\"\n  group vcap\n",
			name, pid, n.path("jobs/"+name+"/bin/ctl")),
		name + "/bin/ctl":       script("sleep 1000 >/dev/null 2>&1 & echo $! > " + pid),
		name + "/bin/run":       script("echo out; echo err >&2; exit 3"),
		name + "/bin/pre-start": script("echo hello $WHO"),
		name + "/bin/drain":     script("echo \"$@\" >> " + n.path("drained") + "; [ $1 = job_check_status ] && echo 0 || echo ${DRAIN:--1}"),
		name + "/conf":          name,
	}
}

// spec of one job and one package, whose blobs the director has.
func (n *node) spec(prefix, job, version string, pkg client.Compiled) map[string]any {
	id := "templates-" + version
	archive := n.blob(id, blobtest.Tgz(n.t, prefix, n.job(job)))
	return map[string]any{
		"deployment": "cf", "name": "router", "id": "6f1c", "az": "z1", "index": 2, "configuration_hash": "h-" + version, "persistent_disk": 1024,
		"job":                        map[string]any{"name": "router", "template": job, "templates": []any{map[string]any{"name": job, "version": version}}},
		"packages":                   map[string]any{"tool": map[string]any{"name": "tool", "version": version, "sha1": pkg.SHA1, "blobstore_id": pkg.BlobID}},
		"rendered_templates_archive": map[string]any{"blobstore_id": id, "sha1": archive},
		"networks":                   map[string]any{"default": map[string]any{"type": "manual", "ip": "10.0.0.21", "cloud_properties": map[string]any{"x": []any{1, nil}}}},
		"stemcell":                   map[string]any{"name": "jammy"},
	}
}

// compiled is a package that the agent has made of its source and a dependency.
func (n *node) compiled() client.Compiled {
	ctx := n.t.Context()
	dep := blobtest.Tgz(n.t, "./", blobtest.Files{"": "", "lib": "library\n"})
	source := blobtest.Tgz(n.t, "./", blobtest.Files{"": "", "packaging": `set -e
cat "$(dirname $BOSH_INSTALL_TARGET)/dep/lib" > $BOSH_INSTALL_TARGET/out
echo $BOSH_PACKAGE_NAME/$BOSH_PACKAGE_VERSION >> $BOSH_INSTALL_TARGET/out`})
	made, err := n.CompilePackage(ctx, client.BlobRef{Name: "tool", Version: "1.2", SHA1: n.blob("source", source), BlobID: "source"},
		map[string]client.BlobRef{"dep": {Name: "dep", Version: "9", SHA1: n.blob("dep", dep), BlobID: "dep"}})
	require.NoError(n.t, err)
	var archive bytes.Buffer
	require.NoError(n.t, n.director.Get(ctx, made.BlobID, &archive))
	d, err := digest.Parse(made.SHA1)
	require.NoError(n.t, err)
	require.NoError(n.t, d.Verify(bytes.NewReader(archive.Bytes())))
	_, files := blobtest.Read(n.t, archive.Bytes())
	require.Equal(n.t, blobtest.Files{"./": "", "./out": "library\ntool/1.2\n"}, files)
	return made
}

// TestRelease is the life of a machine, from a source package to a job that is drained and stopped.
func TestRelease(t *testing.T) {
	everywhere(t, plan{}, func(t *testing.T, n *node) {
		ctx := t.Context()
		made := n.compiled()
		prefix := map[bool]string{true: "./", false: ""}[n.https != nil]
		spec := n.spec(prefix, "web+1", "77", made) // a name that is one of files, not of the letters alone
		require.NoError(t, n.Prepare(ctx, spec))
		assert.NoDirExists(t, n.path("jobs"), "nothing is enabled")
		require.NoError(t, n.Apply(ctx, spec))
		assert.Equal(t, "web+1", n.read("jobs/web+1/conf"))
		assert.Contains(t, n.read("jobs/web+1/packages/tool/out"), "tool/1.2")
		assert.Equal(t, "z1", n.read("instance/az"))
		assert.NoDirExists(t, n.path("monit/job"), "start writes them")
		assert.FileExists(t, n.path("root/etc/logrotate.d/vcap"))

		require.NoError(t, n.StartJobs(ctx))
		assert.FileExists(t, n.path("monit/job/0000_web+1.monitrc"))
		state := n.becomes(messaging.JobRunning)
		require.Len(t, state.Processes, 1)
		assert.Equal(t, "web+1", state.Processes[0].Name)

		require.NoError(t, n.RunScript(ctx, "pre-start", map[string]string{"WHO": "world"}))
		assert.Equal(t, "hello world\n", n.read("sys/log/web+1/pre-start.stdout.log"))
		errand, err := n.RunErrand(ctx, "web+1")
		require.NoError(t, err)
		assert.Equal(t, client.Errand{ExitCode: 3, Stdout: "out\n", Stderr: "err\n"}, errand)
		n.fails("Could not find errand other", "run_errand", "other")

		waited, err := n.Drain(ctx, "update", spec)
		require.NoError(t, err)
		assert.Zero(t, waited)
		assert.Equal(t, "job_changed hash_unchanged\njob_check_status hash_unchanged\n", n.read("drained"))
		require.NoError(t, n.StopJobs(ctx))
		state = n.becomes(messaging.JobStopped)
		if n.https == nil { // protocol 3, with which stop waits
			require.Len(t, state.Processes, 1)
			assert.NotEqual(t, messaging.JobRunning, state.Processes[0].State)
		}

		// Another spec leaves nothing of this one.
		require.NoError(t, n.Apply(ctx, n.spec(prefix, "other", "78", made)))
		assert.NoFileExists(t, n.path("jobs/web+1"))
		entries, err := os.ReadDir(n.path("data/jobs"))
		require.NoError(t, err)
		assert.Len(t, entries, 1)
	})
}

// What a director sent of networks comes back as it was, but for addresses that the machine got by itself.
func TestState(t *testing.T) {
	everywhere(t, plan{}, func(t *testing.T, n *node) {
		before := decoded(t, n.value("get_state"))
		assert.Equal(t, map[string]any{
			"properties": map[string]any{"logging": map[string]any{"max_log_file_size": ""}}, "packages": map[string]any{}, "configuration_hash": "",
			"job":      map[string]any{"name": nil, "release": "", "template": "", "version": "", "templates": nil},
			"networks": map[string]any{}, "resource_pool": map[string]any{}, "deployment": "", "name": "", "index": nil, "id": "", "az": "",
			"persistent_disk": 0., "rendered_templates_archive": nil, "agent_id": "A", "job_state": "running", "vm": map[string]any{"name": "vm-17"},
			"bosh_protocol": "1", "ntp": map[string]any{"message": "file missing"},
		}, before)

		networks := `{"default":{"type":"manual","ip":"10.0.0.21","dns":null,"cloud_properties":{"n":9007199254740993}},"dyn":{"type":"dynamic","k":[]}}`
		assert.Equal(t, `"applied"`, n.value("apply", map[string]any{
			"deployment": "cf", "networks": json.RawMessage(networks), "index": 3, "id": "6f1c", "job": "",
			"agent_id": "forged", "vm": "forged", "vitals": "forged", "env": map[string]any{"kept": true},
		}), "without a configuration hash it is only kept")
		for _, method := range []string{"get_state", "state"} {
			text := n.value(method, "full")
			state := decoded(t, text)
			assert.Contains(t, text, `"cloud_properties":{"n":9007199254740993}`)
			assert.Equal(t, decoded(t, `{"default":{"type":"manual","ip":"10.0.0.21","dns":null,"cloud_properties":{"n":9007199254740993}},
				"dyn":{"type":"dynamic","k":[],"ip":"10.1.0.9","netmask":"255.255.0.0","gateway":"10.1.0.1"}}`), state["networks"])
			assert.Equal(t, []any{"A", map[string]any{"name": "vm-17"}, map[string]any{"kept": true}}, []any{state["agent_id"], state["vm"], state["env"]})
			vitals := state["vitals"].(map[string]any)
			assert.IsType(t, "", vitals["mem"].(map[string]any)["kb"])
			assert.IsType(t, 0., vitals["uptime"].(map[string]any)["secs"])
		}
		assert.NotContains(t, decoded(t, n.value("get_state")), "vitals", "which nobody asked for")
		n.fails("Network 'gone' is not found in settings", "apply", map[string]any{"networks": map[string]any{"gone": map[string]any{}}})

		beat := n.machine.Heartbeat(t.Context())
		assert.Equal(t, []any{"cf", "6f1c", 3, messaging.JobRunning, 0}, []any{beat.Deployment, beat.NodeID, *beat.Index, beat.JobState, *beat.Processes})
		assert.Nil(t, beat.NTP)
		assert.JSONEq(t, `{"state":"running"}`, n.read("instance/health.json"))
	})
}

// TestMonitIsGone: nobody is where monit should be, and the client goes on asking; get_state does not.
func TestMonitIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	asked, err := monit.NewClient(monit.ClientConfig{URL: "http://" + l.Addr().String(), User: "vcap", Password: "pw"})
	require.NoError(t, err)
	n := run(t, plan{Config: methods.Config{StatusTime: 50 * time.Millisecond}, parts: func(p *methods.Parts) {
		var err error
		p.Supervisor, err = monit.NewSupervisor(monit.SupervisorConfig{
			Base: t.TempDir(), Client: asked, Restart: func(context.Context) error { return errors.New("there is no monit") },
		})
		require.NoError(t, err)
	}})
	n.fails("there is no monit", "start")
	state := decoded(t, n.value("get_state"))
	assert.Equal(t, "unknown", state["job_state"])
	assert.NotContains(t, state, "processes")
	beat := n.machine.Heartbeat(t.Context())
	assert.Equal(t, messaging.JobUnknown, beat.JobState)
	assert.Nil(t, beat.Processes)
}

// A spec that cannot be read is told, and the agent lives.
func TestUnreadableSpec(t *testing.T) {
	n := run(t, plan{})
	n.write("bosh/spec.json", "{", 0o600)
	n.fails("Getting current spec", "get_state")
	assert.Equal(t, messaging.JobRunning, n.machine.Heartbeat(t.Context()).JobState)
	require.NoError(t, n.Ping(t.Context()))
}

// Failures come with what a person needs, and leave nothing.
func TestFailures(t *testing.T) {
	everywhere(t, plan{}, func(t *testing.T, n *node) {
		spec := n.spec("", "web", "1", n.compiled())
		wrong := strings.Repeat("0", 40)
		spec["rendered_templates_archive"] = map[string]any{"blobstore_id": "templates-1", "sha1": wrong}
		n.fails("Expected stream to have digest '"+wrong+"' but was '", "apply", spec)
		entries, err := os.ReadDir(n.path("data/jobs"))
		if err == nil {
			assert.Empty(t, entries)
		}
		failing := n.blob("failing", blobtest.Tgz(t, "", blobtest.Files{"packaging": "echo first\necho second\nexit 7\n"}))
		n.fails("Command exited with 7; Stdout: first\nsecond\n", "compile_package", "failing", failing, "p", "1", map[string]any{})
		n.fails("but was", "compile_package", "failing", wrong, "p", "1", map[string]any{})
		n.fails("No blobstore reference for package 'p'", "compile_package", "", failing, "p", "1", map[string]any{})
		n.fails("not found", "compile_package", "gone", failing, "p", "1", []any{})
	})
}

func TestLogs(t *testing.T) {
	everywhere(t, plan{}, func(t *testing.T, n *node) {
		ctx := t.Context()
		n.write("sys/log/a/x.log", "ax", 0o644)
		n.write("sys/log/b/y.txt", "by", 0o644)
		n.write("bosh/log/current", "agent", 0o644)
		n.write("root/log/syslog", "sys", 0o644)
		archive := func(l client.Logs, err error) blobtest.Files {
			t.Helper()
			require.NoError(t, err)
			var data bytes.Buffer
			require.NoError(t, n.director.Get(ctx, l.BlobID, &data))
			d, err := digest.Parse(l.Digest)
			require.NoError(t, err)
			require.NoError(t, d.Verify(bytes.NewReader(data.Bytes())))
			_, files := blobtest.Read(t, data.Bytes())
			for name := range files {
				if strings.HasSuffix(name, "/") {
					delete(files, name)
				}
			}
			return files
		}
		assert.Equal(t, blobtest.Files{"./a/x.log": "ax", "./b/y.txt": "by"}, archive(n.FetchLogs(ctx, "job", nil)))
		assert.Equal(t, blobtest.Files{"./a/x.log": "ax"}, archive(n.FetchLogs(ctx, "job", []string{"a/*.log"})))
		assert.Equal(t, blobtest.Files{"./current": "agent", "./var/log/syslog": "sys"}, archive(n.FetchLogs(ctx, "agent,system", []string{})))
		assert.Empty(t, archive(n.FetchLogs(ctx, "job", []string{"../../settings", "/etc/*"})), "nothing outside")
		n.fails("Invalid log type", "fetch_logs", "weird", nil)
		n.fails("Invalid log type", "bundle_logs", map[string]any{"log_type": "weird"})
		n.fails("Looking up owner", "bundle_logs", map[string]any{"owning_user": "no body", "log_type": "job"})

		bundled, err := n.BundleLogs(ctx, "root", "job", []string{"a/**"})
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(bundled.Digest, "sha512:"))
		d, err := digest.Parse(bundled.Digest)
		require.NoError(t, err)
		require.NoError(t, d.VerifyFile(bundled.Path))
		assert.Equal(t, fmt.Sprintf("%q", bundled.Path), n.value("remove_file", bundled.Path))
		assert.NoFileExists(t, bundled.Path)
		entries, err := os.ReadDir(n.path("data/tmp"))
		require.NoError(t, err)
		assert.Empty(t, entries, "nothing is left")
	})
}

func TestRemoveFile(t *testing.T) {
	n := run(t, plan{})
	n.write("store/dir/file", "x", 0o600)
	require.NoError(t, os.Symlink(n.base, n.path("store/link")))
	require.NoError(t, n.RemoveFile(t.Context(), n.path("store/gone/deep")))
	require.NoError(t, n.RemoveFile(t.Context(), n.path("store/dir")))
	assert.NoDirExists(t, n.path("store/dir"))
	require.NoError(t, os.Symlink("/", n.path("store/root")))
	parent := n.base[:strings.LastIndex(n.base, "/")]
	for _, name := range []string{"/", "//", n.base, n.base + "/", n.base + "/x/..", parent, parent + "/.", n.path("store/root/" + n.base), "store", ""} {
		n.fails("remove file", "remove_file", name)
		require.DirExists(t, n.base)
	}
	require.NoError(t, n.RemoveFile(t.Context(), n.path("store/link")), "a link, not what it leads to")
	assert.FileExists(t, n.path("settings"))
}

func TestUploadBlob(t *testing.T) {
	everywhere(t, plan{}, func(t *testing.T, n *node) {
		upload := func(id, checksum, payload string) map[string]any {
			return map[string]any{"blob_id": id, "checksum": checksum, "payload": payload}
		}
		content := sum(t, []byte("content"))
		assert.Equal(t, `"b-1"`, n.value("upload_blob", upload("b-1", content, "Y29u\ndGVu\r\ndA==\n")))
		assert.Equal(t, "content", n.read("data/sensitive_blobs/b-1"))
		n.fails("Payload corrupted. Checksum mismatch. Expected '"+content+"': Expected stream to have digest '"+content+"' but was '",
			"upload_blob", upload("b-2", content, "eHg="))
		for _, id := range []string{"../../evil", "/etc/evil", "", ".", "a/b", "tmp/../x"} {
			n.fails("invalid blob id", "upload_blob", upload(id, content, "Y29udGVudA=="))
		}
		_, err := n.Run(t.Context(), "upload_blob", upload("b-3", content, "top-secret-payload"))
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "secret")
		n.fails("argument 1 does not fit", "upload_blob", upload("b-3", "", "eHg="))
		n.fails("no digest", "upload_blob", map[string]any{"blob_id": "b-3", "payload": "eHg="})

		// Blobs that were sent come first, and go when they are installed.
		spec := n.spec("", "web", "1", n.compiled())
		templates := blobtest.Tgz(t, "", n.job("web"))
		spec["rendered_templates_archive"] = map[string]any{"blobstore_id": "sent", "sha1": sum(t, templates)}
		require.NoError(t, n.UploadBlob(t.Context(), "sent", sum(t, templates), templates))
		require.NoError(t, n.Apply(t.Context(), spec))
		assert.NoFileExists(t, n.path("data/sensitive_blobs/sent"))
		if n.https != nil {
			require.NoError(t, n.https.PutBlob(t.Context(), "put", bytes.NewReader(templates)))
			spec["rendered_templates_archive"] = map[string]any{"blobstore_id": "put", "sha1": sum(t, templates)}
			require.NoError(t, n.Apply(t.Context(), spec))
		}
	})
}
