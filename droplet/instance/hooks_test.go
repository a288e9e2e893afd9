package instance_test

import (
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

func writeHook(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hook.sh")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// Each hook writes a line to a file of the host, with what it sees of the app's environment; so does the app.
func TestHooksRunInOrder(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal")
	hook := func(name string) string {
		return writeHook(t, `echo "`+name+` $MEMORY_LIMIT $MINE $(umask) $(basename "$PWD")" >>`+journal)
	}
	n := newNode(t, testapp.PackDroplet(t, map[string]string{"startup": "#!/bin/sh\necho app >>" + journal + "\nexec sleep 60\n"}))
	n.cfg.Hooks = instance.Hooks{
		BeforeStart: hook("before_start"), AfterStart: hook("after_start"), BeforeStop: hook("before_stop"), AfterStop: hook("after_stop"),
	}
	n.cfg.PostSetup = "echo post_setup $MINE >>" + journal
	m := n.message("x")
	m.URIs, m.Env = nil, []string{"MINE=a b"}
	i, over := n.run(t.Context(), m)
	n.await(i, messaging.Running)
	lines := func() []string {
		data, err := os.ReadFile(journal)
		require.NoError(t, err)
		return strings.Split(strings.TrimSpace(string(data)), "\n")
	}
	require.Eventually(t, func() bool { return len(lines()) == 4 }, patience, time.Millisecond)
	i.Stop()
	wait(t, over)
	got := lines()
	// The app and the hook after its start run side by side.
	assert.Equal(t, "before_start 256m a b 0077 vcap", got[0])
	assert.ElementsMatch(t, []string{"post_setup a b", "app", "after_start 256m a b 0077 vcap"}, got[1:4])
	assert.Equal(t, []string{"before_stop 256m a b 0077 vcap", "after_stop 256m a b 0077 vcap"}, got[4:])
}

func TestMissingHooksAreSkipped(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.Hooks = instance.Hooks{BeforeStart: "/no/such/hook", AfterStart: "/no/such/hook", BeforeStop: "/no/such/hook", AfterStop: "/no/such/hook"}
	i, over := n.run(t.Context(), n.message(testapp.Serves))
	n.await(i, messaging.Running)
	i.Stop()
	wait(t, over)
	assert.Equal(t, messaging.Stopped, i.Status().State)
}

func TestHookThatFailsFailsTheStart(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.Hooks.BeforeStart = writeHook(t, "echo no >&2; exit 7")
	i, over := n.run(t.Context(), n.message(testapp.Serves))
	wait(t, over)
	assert.Equal(t, "failed to start", i.Status().ExitDescription)
	i.Release()

	n.cfg.Hooks = instance.Hooks{AfterStart: writeHook(t, "exit 7")}
	i, over = n.run(t.Context(), n.message(testapp.Serves))
	wait(t, over)
	assert.Equal(t, messaging.Crashed, i.Status().State)
	i.Release()
}

// An app that ends while its after_start hook is at work is a crash at once, with its own status.
func TestAppThatEndsDuringAHook(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.HookTimeout = time.Hour
	n.cfg.Hooks.AfterStart = writeHook(t, "exec sleep 3600")
	m := n.message(testapp.ExitsAtOnce)
	m.URIs = nil
	i, over := n.run(t.Context(), m)
	wait(t, over)
	assert.Equal(t, 4, i.Status().ExitStatus)
	assert.Equal(t, "app instance exited", i.Status().ExitDescription)
	i.Release()
}

// Whatever a hook around the stop does, the instance is stopped.
func TestHookCannotKeepAnInstance(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.HookTimeout = 100 * time.Millisecond
	n.cfg.Hooks = instance.Hooks{BeforeStop: writeHook(t, "exec sleep 60"), AfterStop: writeHook(t, "exit 1")}
	i, over := n.run(t.Context(), n.message(testapp.Serves))
	n.await(i, messaging.Running)
	i.Stop()
	wait(t, over)
	assert.Equal(t, messaging.Stopped, i.Status().State)
}

// The limits of a process are what the message and the configuration say. The number of processes is only limited where
// the instance has a user of its own.
func TestProcessLimits(t *testing.T) {
	n := newNode(t, testapp.PackDroplet(t, map[string]string{"startup": "#!/bin/bash\necho $(ulimit -n) $(ulimit -u) >limits.new\nmv limits.new limits\nexec sleep 60\n"}))
	backend := &bent{Backend: n.backend, caps: func(c *container.Capabilities) { c.Users = true }}
	m := n.message("x")
	m.URIs, m.Limits.FDs = nil, 99
	i, _ := n.runOn(t.Context(), backend, m)
	s := n.await(i, messaging.Running)
	home, ok := s.Container.OnHost(container.AppHome)
	require.True(t, ok)
	var limits []byte
	require.Eventually(t, func() (done bool) {
		var err error
		limits, err = os.ReadFile(filepath.Join(home, "limits"))
		return err == nil
	}, patience, time.Millisecond)
	assert.Equal(t, "99 512\n", string(limits))
}
