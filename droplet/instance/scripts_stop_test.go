package instance_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
)

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
