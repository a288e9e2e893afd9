package agent

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/messaging"
)

// apiVersion since which run_errand takes the name of the errand (bosh-agent, 2017-07).
const apiVersion = 1

// Info is the result of info.
type Info struct {
	APIVersion int `json:"api_version"`
}

// ownMethods need nothing but the agent.
func (a *Agent) ownMethods() []action.Method {
	return []action.Method{
		{Name: "ping", Quick: true, Do: func(context.Context) (string, error) { return "pong", nil }},
		{Name: "noop", Quick: true, Do: func(context.Context) (string, error) { return "nope", nil }},
		{Name: "info", Quick: true, Do: func(context.Context) (Info, error) { return Info{apiVersion}, nil }},
		{Name: "get_task", Quick: true, Do: a.getTask},
		{Name: "cancel_task", Quick: true, Do: a.cancelTask},
	}
}

// getTask tells that a task goes on, or what it has come to, any number of times.
func (a *Agent) getTask(_ context.Context, id string) (json.RawMessage, error) {
	outcome, done, err := a.tasks.Get(id)
	switch {
	case err != nil:
		return nil, err
	case !done:
		return action.Encode(messaging.AgentTask{State: messaging.AgentTaskRunning, ID: id})
	case outcome.Err != nil:
		return nil, &taskError{id, outcome.Err}
	default:
		return outcome.Value, nil
	}
}

// taskError is the failure of a task, as get_task tells it.
type taskError struct {
	id  string
	err error
}

func (e *taskError) Error() string { return fmt.Sprintf("Task %s result: %v", e.id, e.err) }

func (e *taskError) Unwrap() error { return e.err }

// ShortError implements transport.Shortener.
func (e *taskError) ShortError() string { return fmt.Sprintf("Task %s result: %s", e.id, short(e.err)) }

// cancelTask asks one task to end; get_task then has what it came to.
func (a *Agent) cancelTask(_ context.Context, id string) (string, error) {
	if err := a.tasks.Cancel(id); err != nil {
		return "", err
	}
	return "canceled", nil
}
