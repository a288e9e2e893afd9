package agent_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent"
	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/task"
)

// settingsMethod notes in a file each time that it is called, and never ends by itself.
func settingsMethod(calls string) action.Method {
	return action.Method{
		Name: "update_settings", Async: true,
		Do: func(ctx context.Context, _ map[string]any) (string, error) {
			f, err := os.OpenFile(calls, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return "", err
			}
			defer f.Close()
			if _, err := f.WriteString("called\n"); err != nil {
				return "", err
			}
			fmt.Println("at work")
			<-ctx.Done()
			return "", context.Cause(ctx)
		},
		Resume: func(context.Context) (any, error) { return "ok", nil },
	}
}

// An agent that is killed answers for its persistent task when it is back, and forgets the others.
func TestKilledAgent(t *testing.T) {
	const place = "DEAKIT_TEST_AGENT_DIR"
	if dir := os.Getenv(place); dir != "" { // the agent that will be killed
		a := start(t, agent.Config{
			Tasks:   task.Config{Store: task.NewStore(filepath.Join(dir, "tasks.json"))},
			Methods: []action.Method{settingsMethod(filepath.Join(dir, "calls"))},
		})
		fmt.Println(a.begin("update_settings", map[string]any{}))
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAgent$")
	cmd.Env = append(os.Environ(), place+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var id string
	lines := bufio.NewScanner(out)
	for range 2 { // in either order
		require.True(t, lines.Scan())
		if lines.Text() != "at work" {
			id = lines.Text()
		}
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	a := start(t, agent.Config{
		Tasks:   task.Config{Store: task.NewStore(filepath.Join(dir, "tasks.json"))},
		Methods: []action.Method{settingsMethod(filepath.Join(dir, "calls"))},
	})
	assert.Equal(t, `{"value":"ok"}`, a.result(id))
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	require.NoError(t, err)
	assert.Equal(t, "called\n", string(calls), "once")
}
