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
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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

// Droplets of all versions run, and their own scripts end the app and the startup script.
func TestScriptsOfAllVersions(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for name, scripts := range map[string]struct{ startup, stop string }{
		"F1, which writes stop itself":         {startupF1, ""},
		"F2 and F3":                            {startupF3, stopF2},
		"F3, stop of PHP":                      {startupF3, stopIn},
		"F4":                                   {startupF4, stopF2},
		"F5 with a stop":                       {startupF5, stopF2},
		"F3 without arguments and placeholder": {strings.NewReplacer("%VCAP_LOCAL_RUNTIME%", self, " $@", "").Replace(startupF3), stopF2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, scripted(t, scripts.startup, scripts.stop))
			n.ownRuntime()
			journal := n.tellsWhoLives("run.pid shell.pid")
			m := n.scriptedMessage()
			m.Env = append(m.Env, "RUNTIME="+self)
			i, over := n.run(t.Context(), m)
			s := n.await(i, messaging.Running)
			assert.True(t, s.Scripts)
			assert.Contains(t, get(t, s), `"port":`)
			i.Stop()
			wait(t, over)
			assert.Equal(t, "gone\ngone\n", read(t, journal))
			assert.Equal(t, messaging.Stopped, i.Status().State)
		})
	}
}

// F5 has no stop script, and its startup is no other than those of the first dea_ng: it has the environment of these, and ends by
// signals.
func TestScriptsWithoutStop(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	n := newNode(t, scripted(t, startupF5, ""))
	m := n.message(testapp.Serves)
	m.Env = append(m.Env, "RUNTIME="+self)
	i, over := n.run(t.Context(), m)
	s := n.await(i, messaging.Running)
	assert.False(t, s.Scripts)
	assert.Contains(t, get(t, s), `"port":`)
	i.Stop()
	wait(t, over)
}

// Member names with and without "./" are the same.
func TestRuntimeIsPutIntoStartup(t *testing.T) {
	for _, prefix := range []string{"./", ""} {
		t.Run("members begin with "+prefix, func(t *testing.T) {
			n := newNode(t, packMembers(t, prefix, map[string]member{
				"startup": {0o500, startupF4}, "stop": {0o500, stopF2 + "# %VCAP_LOCAL_RUNTIME%\n"}, "app/.hidden": {0o600, "kept"},
				".top": {0o644, "kept"}, "run.pid": {0o644, "1\n"}, "logs/staging.log": {0o644, "staged\n"},
			}))
			asked := n.ownRuntime()
			m := n.scriptedMessage()
			i, _ := n.run(t.Context(), m)
			home := homeOf(t, n.await(i, messaging.Running))
			self, err := os.Executable()
			require.NoError(t, err)
			assert.JSONEq(t, string(m.RuntimeInfo), *asked)
			assert.Equal(t, strings.ReplaceAll(startupF4, "%VCAP_LOCAL_RUNTIME%", self), read(t, home, "startup"))
			assert.Equal(t, stopF2+"# %VCAP_LOCAL_RUNTIME%\n", read(t, home, "stop"), "it is not touched")
			for _, name := range []string{"startup", "stop"} {
				info, err := os.Stat(filepath.Join(home, name))
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o500), info.Mode(), name)
			}
			assert.Equal(t, "keptkept", read(t, home, ".top")+read(t, home, "app/.hidden"))
			assert.Equal(t, "staged\n", read(t, home, "logs/staging.log"))
			assert.Equal(t, "app in mode serves\n", read(t, home, "logs/stdout.log"))
			require.Regexp(t, `^\d+\n$`, read(t, home, "run.pid"), "the stale one is gone")
			assert.NotEqual(t, "1\n", read(t, home, "run.pid"))
		})
	}
}

// seen starts a droplet whose startup writes down what it gets, and returns that.
func seen(t *testing.T, edit func(*messaging.StartMessage)) (home string, args string, env map[string]string, s instance.Status) {
	t.Helper()
	n := newNode(t, scripted(t, "#!/bin/bash\necho \"$#:$*:$PWD:$HOME\" >args\nenv -0 >env\necho $$ >>run.pid\ntouch told\nexec sleep 600\n", stopF2))
	n.ownRuntime()
	m := n.scriptedMessage()
	m.HealthCheckTimeout = 600
	edit(&m)
	i, over := n.run(t.Context(), m)
	require.Eventually(t, func() bool {
		s = i.Status()
		home, _ = s.Container.OnHost(container.AppHome)
		_, err := os.Stat(filepath.Join(home, "told"))
		return s.Container.HostRoot != "" && err == nil
	}, patience, tick)
	s = i.Status()
	args, env = read(t, home, "args"), map[string]string{}
	for line := range strings.SplitSeq(read(t, home, "env"), "\x00") {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	home = s.Container.Inside(container.AppHome)
	i.Stop()
	wait(t, over)
	return home, args, env, s
}

func TestEnvironmentOfScripts(t *testing.T) {
	home, args, env, s := seen(t, func(m *messaging.StartMessage) {
		m.Name, m.Env = "it's", append(m.Env, "MINE=$VCAP_APP_PORT", "BOTH=user")
		require.NoError(t, json.Unmarshal([]byte(`[
			{"name":"db","label":"mysql-5.1","plan":"free","credentials":{"hostname":"10.0.0.9","port":3306,"password":"a b'c"}},
			{"name":"q","label":"a b-1","credentials":{"host":"h","port":"5"}},{"name":"n","label":"nothing","credentials":null}]`), &m.Services))
	})
	port := fmt.Sprint(s.Port)
	assert.Equal(t, fmt.Sprintf("2:-p %s:%s:%s\n", port, home, home), args)
	for name, want := range map[string]string{
		"HOME": home, "VCAP_APP_HOST": "0.0.0.0", "VCAP_APP_PORT": port, "VMC_APP_PORT": port, "VMC_APP_HOST": "0.0.0.0",
		"VCAP_DEBUG_IP": "", "VCAP_DEBUG_PORT": "", "VCAP_CONSOLE_IP": "", "VCAP_CONSOLE_PORT": "",
		"VMC_APP_NAME": "it's", "VMC_APP_ID": s.ID, "VMC_APP_VERSION": "v", "VMC_MYSQL": "10.0.0.9:3306",
		"MINE": port, "BOTH": "user", "BUNDLE_GEMFILE": "",
	} {
		got, there := env[name]
		assert.True(t, there, name)
		assert.Equal(t, want, got, name)
	}
	assert.Regexp(t, `^/opt/ruby19/bin:/`, env["PATH"])
	assert.NotContains(t, env, "VMC_NOTHING")
	var app map[string]any
	require.NoError(t, json.Unmarshal([]byte(env["VCAP_APPLICATION"]), &app))
	assert.Equal(t, map[string]any{"fds": 1024.0, "mem": float64(256 << 20), "disk": float64(256 << 20)}, app["limits"])
	assert.Equal(t, "ruby19", app["runtime"])
	assert.Equal(t, "it's", app["name"])
	assert.EqualValues(t, s.Port, app["port"])
	assert.JSONEq(t, env["VCAP_APPLICATION"], env["VMC_APP_INSTANCE"])
	assert.JSONEq(t, `[{"name":"db","vendor":"mysql","version":"5.1","tier":"free","options":{"hostname":"10.0.0.9","port":3306,"password":"a b'c"}},
		{"name":"q","vendor":"a b","version":"1","tier":null,"options":{"host":"h","port":"5"}},
		{"name":"n","vendor":"nothing","tier":null,"options":null}]`, env["VMC_SERVICES"])
	assert.Contains(t, env["VCAP_SERVICES"], `{"mysql-5.1":[{"name":"db",`[1:])
}

func TestScriptsWithoutRoutesHaveNoPort(t *testing.T) {
	home, args, env, _ := seen(t, func(m *messaging.StartMessage) { m.URIs = nil })
	assert.Equal(t, fmt.Sprintf("0::%s:%s\n", home, home), args)
	assert.Empty(t, env["VCAP_APP_PORT"])
	assert.Empty(t, env["VMC_APP_PORT"])
	assert.NotContains(t, env["VCAP_APPLICATION"], `"port"`)
}

func TestScriptsAreReadyByStateFile(t *testing.T) {
	app := packMembers(t, "./", map[string]member{
		"startup": {0o500, startupF3}, "stop": {0o500, stopF2}, "droplet.yaml": {0o644, "---\nstate_file: state.json\n"},
	})
	n := newNode(t, app)
	n.ownRuntime()
	m := n.scriptedMessage()
	m.Env = []string{testapp.Env(testapp.TellsByFile)}
	i, _ := n.run(t.Context(), m)
	assert.FileExists(t, filepath.Join(homeOf(t, n.await(i, messaging.Running)), "state.json"))
}

// A state file that never says so is waited for as long as state files are, whatever the port does.
func TestStateFileThatNeverComes(t *testing.T) {
	app := packMembers(t, "", map[string]member{
		"startup": {0o500, startupF3}, "stop": {0o500, stopF2}, "droplet.yaml": {0o644, "---\nstate_file: state.json\n"},
		"state.json": {0o644, `{"state":"STARTING"}`},
	})
	n := newNode(t, app)
	n.ownRuntime()
	n.cfg.StateFileTimeout = 300 * time.Millisecond
	i, over := n.run(t.Context(), n.scriptedMessage())
	wait(t, over)
	defer i.Release()
	assert.Equal(t, instance.Unhealthy, i.Status().ExitDescription)
}

// What startup says of a start that comes to nothing is found where people look for errors.
func TestStartupThatFails(t *testing.T) {
	n := newNode(t, scripted(t, "#!/bin/bash\nfalse $@\necho 'Missing or invalid port (-p)'\nexit 7\n", stopF2))
	i, over := n.run(t.Context(), n.message("x"))
	wait(t, over)
	defer i.Release()
	s := i.Status()
	assert.Equal(t, 7, s.ExitStatus)
	assert.Equal(t, "Missing or invalid port (-p)\n", read(t, s.CrashPath, "logs/stderr.log"))
}

func TestScriptsCrashWithTheStatusOfTheApp(t *testing.T) {
	n := newNode(t, scripted(t, startupF3, stopF2))
	n.ownRuntime()
	i, over := n.run(t.Context(), n.scriptedMessage())
	s := n.await(i, messaging.Running)
	_, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/exit", s.HostPort))
	require.Error(t, err, "the app ends before it answers")
	http.DefaultClient.CloseIdleConnections()
	wait(t, over)
	defer i.Release()
	assert.Equal(t, 3, i.Status().ExitStatus)
	assert.Equal(t, "app in mode serves\n", read(t, i.Status().CrashPath, "logs/stdout.log"))
}

// Whatever the droplet's own scripts do, the instance ends.
func TestStopScriptsThatDoNotStop(t *testing.T) {
	for name, droplet := range map[string]struct{ startup, stop string }{
		"a pid that is no pid":     {strings.ReplaceAll(startupF3, `"$STARTED" >>`, `"-1" >>`), stopF2},
		"the pid of all":           {strings.ReplaceAll(startupF3, `"$STARTED" >>`, `"0" >>`), stopF2},
		"the pid of the first one": {strings.ReplaceAll(startupF3, `"$STARTED" >>`, `"1" >>`), stopF2},
		"no pid":                   {strings.ReplaceAll(startupF3, `"$STARTED" >> ../run.pid`, `none >../run.pid`), stopF2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			called := filepath.Join(t.TempDir(), "called")
			n := newNode(t, scripted(t, droplet.startup, droplet.stop+"touch "+called+"\n"))
			n.ownRuntime()
			i, over := n.run(t.Context(), n.scriptedMessage())
			n.await(i, messaging.Running)
			i.Stop()
			wait(t, over)
			assert.Equal(t, messaging.Stopped, i.Status().State)
			assert.NoFileExists(t, called)
		})
	}
}

// An instance that an earlier process has left is stopped by its script, too.
func TestStopScriptAfterResume(t *testing.T) {
	n := newNode(t, scripted(t, startupF3, stopF2))
	n.ownRuntime()
	earlier := &bent{Backend: n.backend}
	earlier.destroys.Store(1) // to it the end of the app is a crash, after which it must not take the container away
	i, over := n.runOn(t.Context(), earlier, n.scriptedMessage())
	n.await(i, messaging.Running)
	var registry instance.Registry
	registry.Add(i)
	journal := n.tellsWhoLives("run.pid shell.pid")
	parts := n.parts()
	parts.Observe = func(instance.Change) {}
	again, err := instance.Resume(t.Context(), registry.Snapshot().Instances[0], n.cfg, parts)
	require.NoError(t, err)
	assert.True(t, again.Status().Scripts)
	ended := make(chan struct{})
	go func() { defer close(ended); again.Run(t.Context()) }()
	again.Stop()
	wait(t, ended)
	assert.Equal(t, "gone\ngone\n", read(t, journal))
	wait(t, over)
	i.Release()
}

func TestAppsWithoutTheirRuntime(t *testing.T) {
	missing := errors.New("there is no ruby19")
	for name, test := range map[string]struct {
		info, name string
		find       instance.FindRuntime
		want       error
	}{
		"nothing is told": {"", "", nil, instance.ErrRuntimeUntold},
		"null is told":    {"null", `""`, nil, instance.ErrRuntimeUntold},
		"there are none":  {"", `"ruby19"`, nil, instance.ErrNoRuntimes},
		"it is not there": {"", `{"name":"ruby19"}`, func(context.Context, container.Container, json.RawMessage) (instance.Runtime, error) {
			return instance.Runtime{}, missing
		}, missing},
		"relative, no way": {"", `"ruby19"`, func(context.Context, container.Container, json.RawMessage) (instance.Runtime, error) {
			return instance.Runtime{Executable: "ruby"}, nil
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, scripted(t, startupF3, stopF2))
			n.cfg.Runtime = test.find
			m := n.message(testapp.Serves)
			m.RuntimeInfo, m.Runtime = json.RawMessage(test.info), json.RawMessage(test.name)
			i, over := n.run(t.Context(), m)
			wait(t, over)
			defer i.Release()
			var failure *instance.RuntimeError
			require.ErrorAs(t, i.Status().StartError, &failure)
			if test.want != nil {
				require.ErrorIs(t, failure, test.want)
			}
			assert.Equal(t, "failed to start", i.Status().ExitDescription)
		})
	}
}

// A command of the user's own, or of a buildpack, is none of the scripts' business.
func TestCommandsOfTodayWinOverScripts(t *testing.T) {
	for command, scripts := range map[string]bool{
		`cd .. && HOME="$PWD" exec ./startup ${VCAP_APP_PORT:+-p "$VCAP_APP_PORT"}`: true,
		"exec ./startup":                  true,
		"exec sleep 600":                  false,
		"exec sleep 600 #/startup":        false,
		"test -x ./startups; sleep 600":   false,
		"echo >../x./startup1; sleep 600": false,
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			members := map[string]member{
				"startup": {0o500, startupF3}, "stop": {0o500, stopF2}, "staging_info.yml": {0o644, "start_command: exec ./startup\n"},
			}
			n := newNode(t, packMembers(t, "", members))
			n.ownRuntime()
			m := n.scriptedMessage()
			m.StartCommand, m.URIs = command, nil
			i, _ := n.run(t.Context(), m)
			assert.Equal(t, scripts, n.await(i, messaging.Running).Scripts)
		})
	}
}
