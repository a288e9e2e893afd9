package methods_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// What changes the machine waits for a drain that does not end; what asks does not.
func TestOneAfterAnother(t *testing.T) {
	everywhere(t, plan{}, func(t *testing.T, n *node) {
		ctx := t.Context()
		n.write("jobs/slow/bin/drain", "#!/bin/sh\ntouch "+n.path("draining")+"\nsleep 1000\n", 0o755)
		require.NoError(t, n.Apply(ctx, map[string]any{"job": map[string]any{"templates": []any{map[string]any{"name": "slow"}}}}))
		drain, err := n.Start(ctx, "drain", "shutdown", map[string]any{})
		require.NoError(t, err)
		require.Eventually(t, func() bool { _, err := n.machineFile("draining"); return err == nil }, waitFor, tick)

		var waiting []*client.Task
		for _, call := range [][]any{
			{"apply", map[string]any{"deployment": "next"}}, {"prepare", map[string]any{}}, {"stop"}, {"mount_disk", "disk-0"},
			{"compile_package", "gone", sum(t, nil), "p", "1", map[string]any{}},
		} {
			task, err := n.Start(ctx, call[0].(string), call[1:]...)
			require.NoError(t, err)
			waiting = append(waiting, task)
		}
		var started sync.WaitGroup
		started.Go(func() { assert.NoError(t, n.StartJobs(ctx)) }) // a direct request, which waits too
		for range 20 {
			require.NoError(t, n.Ping(ctx))
			state, err := n.State(ctx)
			require.NoError(t, err)
			assert.EqualValues(t, "", state.Deployment)
			for _, task := range waiting {
				_, done, err := task.Get(ctx)
				require.NoError(t, err)
				require.False(t, done, task.Method)
			}
		}
		require.NoError(t, drain.Cancel(ctx))
		_, err = drain.Wait(ctx)
		assert.ErrorContains(t, err, "Script was cancelled by user request")
		for _, task := range waiting {
			_, err := task.Wait(ctx)
			if task.Method == "compile_package" {
				assert.ErrorContains(t, err, "not found")
			} else {
				assert.NoError(t, err, task.Method)
			}
		}
		started.Wait()
		state, err := n.State(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, "next", state.Deployment)
	})
}

// The end of the agent ends who waits, too; nothing is left running.
func TestEndWhileOthersWait(t *testing.T) {
	n := run(t, plan{})
	n.write("jobs/slow/bin/drain", "#!/bin/sh\ntouch "+n.path("draining")+"\nsleep 1000\n", 0o755)
	require.NoError(t, n.Apply(t.Context(), map[string]any{"job": map[string]any{"templates": []any{map[string]any{"name": "slow"}}}}))
	_, err := n.Start(t.Context(), "drain", "shutdown", map[string]any{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := n.machineFile("draining"); return err == nil }, waitFor, tick)
	for range 10 { // more than run at a time
		_, err := n.Start(t.Context(), "apply", map[string]any{"deployment": "next"})
		require.NoError(t, err)
	}
	n.stop()
	require.NoError(t, n.ended)
	assert.NotContains(t, n.read("bosh/spec.json"), "next")
}

// One shutdown event tells the health monitor that the machine goes on purpose.
func TestShutdownEvent(t *testing.T) {
	srv := messagingtest.NewServer(t)
	monitor := srv.Connect()
	events, err := monitor.SubscribeSync("hm.agent.shutdown.*")
	require.NoError(t, err)
	require.NoError(t, monitor.Flush())
	health, err := heartbeat.NewAgent(srv.Connect(), heartbeat.AgentConfig{ID: "A", Collect: func(context.Context) messaging.AgentHeartbeat { return messaging.AgentHeartbeat{} }})
	require.NoError(t, err)
	n := run(t, plan{nats: srv, Config: methods.Config{NotifyShutdown: health.Shutdown}})
	n.fails("requires new spec", "drain", "update")
	_, err = n.Drain(t.Context(), "update", map[string]any{})
	require.NoError(t, err)
	waited, err := n.Drain(t.Context(), "shutdown", nil)
	require.NoError(t, err)
	assert.Zero(t, waited)
	event, err := events.NextMsgWithContext(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "hm.agent.shutdown.A", event.Subject)
	assert.Equal(t, "null", string(event.Data))
	require.NoError(t, monitor.Flush())
	left, _, err := events.Pending()
	require.NoError(t, err)
	assert.Zero(t, left)

	silent := run(t, plan{Config: methods.Config{NotifyShutdown: func(context.Context) error { return errors.New("no server") }}})
	silent.fails("Notifying shutdown: no server", "drain", "shutdown", map[string]any{})
}

func TestShutdown(t *testing.T) {
	assert.Equal(t, `""`, run(t, plan{}).value("shutdown"))
	off := make(chan struct{}, 1)
	n := run(t, plan{Config: methods.Config{PowerOff: func(context.Context) error { off <- struct{}{}; return nil }}})
	require.NoError(t, n.Shutdown(t.Context()))
	<-off
	run(t, plan{Config: methods.Config{PowerOff: func(context.Context) error { return errors.New("not allowed") }}}).
		fails("Shutting down: not allowed", "shutdown")
}
