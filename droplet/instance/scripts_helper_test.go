package instance_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

// The scripts of vcap_staging in all of its forms, for an app whose runtime is the test's own app.
const (
	envLines = "#!/bin/bash\nexport RACK_ENV=\"${RACK_ENV:-production}\"\nexport TMPDIR=\"$PWD/tmp\"\nunset BUNDLE_GEMFILE\n" +
		"mkdir ruby\necho \"\\$stdout.sync = true\" >> ./ruby/stdsync.rb\necho $$ >shell.pid\n"
	startLines = "cd app\n%VCAP_LOCAL_RUNTIME% app.rb $@ > ../logs/stdout.log 2> ../logs/stderr.log &\n" +
		"STARTED=$!\necho \"$STARTED\" >> ../run.pid\n"

	startupF1 = envLines + startLines + "echo \"#!/bin/bash\" >> ../stop\necho \"kill -9 $STARTED\" >> ../stop\n" +
		"echo \"kill -9 $PPID\" >> ../stop\nchmod 755 ../stop\nwait $STARTED\n"
	startupF3 = envLines + startLines + "wait $STARTED\n"
	startupF4 = envLines + "DROPLET_BASE_DIR=$PWD\ncd app\n" +
		"%VCAP_LOCAL_RUNTIME% exec %VCAP_LOCAL_RUNTIME% ./app.rb $@ > $DROPLET_BASE_DIR/logs/stdout.log 2> $DROPLET_BASE_DIR/logs/stderr.log &\n" +
		"STARTED=$!\necho \"$STARTED\" >> $DROPLET_BASE_DIR/run.pid\nwait $STARTED\n"
	startupF5 = "#!/bin/bash\nexport HOME=\"$PWD/app\"\nexport PORT=\"$VCAP_APP_PORT\"\necho $$ >shell.pid\nDROPLET_BASE_DIR=$PWD\ncd app\n" +
		"(exec \"$RUNTIME\") > $DROPLET_BASE_DIR/logs/stdout.log 2> $DROPLET_BASE_DIR/logs/stderr.log &\n" +
		"STARTED=$!\necho \"$STARTED\" >> $DROPLET_BASE_DIR/run.pid\nwait $STARTED\n"

	stopF2 = "#!/bin/bash\nexport TMPDIR=\"$PWD/tmp\"\nAPP_PID=$1\nAPP_PPID=`ps -o ppid= -p $APP_PID`\nkill -9 $APP_PID\nkill -9 $APP_PPID\n"
	stopIn = "#!/bin/bash\nCHILDPIDS=$(pgrep -P ${1} -d ' ')\nkill -9 ${1}\nfor CPID in ${CHILDPIDS};do\n  kill -9 ${CPID}\ndone\n" // of PHP
)

// A member of a droplet.
type member struct {
	mode    int64
	content string
}

// packMembers makes a droplet whose members are named with a prefix, "./" or none, as different versions of tar did.
func packMembers(t *testing.T, prefix string, members map[string]member) testapp.Droplet {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "droplet.tgz"))
	require.NoError(t, err)
	defer file.Close()
	digest := sha1.New()
	zipped := gzip.NewWriter(io.MultiWriter(file, digest))
	archive := tar.NewWriter(zipped)
	if prefix != "" {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: prefix, Typeflag: tar.TypeDir, Mode: 0o700}))
	}
	for _, dir := range []string{"app/", "logs/", "tmp/"} {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: prefix + dir, Typeflag: tar.TypeDir, Mode: 0o755}))
	}
	for name, m := range members {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: prefix + name, Mode: m.mode, Size: int64(len(m.content))}))
		_, err := io.WriteString(archive, m.content)
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(archive.Close(), zipped.Close()))
	return testapp.Droplet{Path: file.Name(), SHA1: hex.EncodeToString(digest.Sum(nil))}
}

// scripted is a droplet with scripts, and things that must not get in their way; an empty stop is none.
func scripted(t *testing.T, startup, stop string) testapp.Droplet {
	t.Helper()
	members := map[string]member{
		"startup": {0o500, startup}, "app/app.rb": {0o640, ""}, "app/.hidden": {0o600, "kept"}, ".top": {0o644, "kept"},
		"run.pid": {0o644, "1\n"}, "logs/staging.log": {0o644, "Please provide a Gemfile.lock\n"},
	}
	if stop != "" {
		members["stop"] = member{0o500, stop}
	}
	return packMembers(t, "./", members)
}

// ownRuntime makes the test's own app the runtime of a node, which tells what was asked for.
func (n *node) ownRuntime() (asked *string) {
	self, err := os.Executable()
	require.NoError(n.t, err)
	asked = new(string)
	n.cfg.Runtime = func(_ context.Context, c container.Container, wanted json.RawMessage) (instance.Runtime, error) {
		*asked = string(wanted)
		return instance.Runtime{
			Name: "ruby19", Executable: self, Warnings: []string{"it is another one"},
			Env: []messaging.EnvVar{{Name: "PATH", Value: "/opt/ruby19/bin:$PATH"}, {Name: "BUNDLE_GEMFILE"}, {Name: "BOTH", Value: "runtime"}},
		}, nil
	}
	return asked
}

func (n *node) scriptedMessage() messaging.StartMessage {
	m := n.message(testapp.Serves)
	m.RuntimeInfo = json.RawMessage(`{"name":"ruby19","executable":"ruby"}`)
	return m
}

func homeOf(t *testing.T, s instance.Status) string {
	t.Helper()
	home, ok := s.Container.OnHost(container.AppHome)
	require.True(t, ok)
	return home
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(data)
}

// tellsWhoLives is a hook of the operator that runs after the stop script and before the container is stopped: it writes a line
// for each process of which a file tells the pid, "gone" if there is none.
func (n *node) tellsWhoLives(files string) (journal string) {
	journal = filepath.Join(n.t.TempDir(), "journal")
	n.cfg.Hooks.AfterStop = writeHook(n.t, `for pid in $(cat `+files+`); do
  case $(ps -o stat= -p $pid) in ''|Z*) echo gone ;; *) echo lives ;; esac
done >>`+journal)
	return journal
}

func get(t *testing.T, s instance.Status) string {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", s.HostPort))
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}
