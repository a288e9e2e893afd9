package instance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
