package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Task is a method that an agent is at work on, or that it has answered directly.
type Task struct {
	Method string
	ID     string // empty when the answer was direct

	client *Client
	began  time.Time
	value  json.RawMessage // of a direct answer
}

// Start calls a method and returns without waiting for a task to end.
func (c *Client) Start(ctx context.Context, method string, arguments ...any) (*Task, error) {
	reply, err := c.do(ctx, method, arguments...)
	if err != nil {
		return nil, err
	}
	task := &Task{Method: method, client: c, began: time.Now()}
	if id, running := reply.Task(); running {
		task.ID = id
	} else {
		task.value = reply.Value
	}
	return task, nil
}

// Resume gives a task that was started before, by this process or another.
func (c *Client) Resume(method, taskID string) *Task {
	return &Task{Method: method, ID: taskID, client: c, began: time.Now()}
}

// Get asks once. While the task goes on, done is false.
func (t *Task) Get(ctx context.Context) (value json.RawMessage, done bool, err error) {
	if t.ID == "" {
		return t.value, true, nil
	}
	reply, err := t.client.do(ctx, "get_task", t.ID)
	if err != nil {
		return nil, false, err
	}
	if _, running := reply.Task(); running {
		return nil, false, nil
	}
	return reply.Value, true, nil
}

// absence is how long an agent may be off the bus before that counts among the failures: it restarts. It used to be noticed no
// sooner, for want of a reply.
const absence = 45 * time.Second

// Wait asks at the configured delay until the task has ended, and returns its value. Questions that fail on their way are
// tolerated as the Config says; an agent that restarts meanwhile is one of their reasons, and may be off the bus for 45 s besides.
// When ctx ends Wait ends too, the task does not: see Cancel. It fails with a *RemoteError when the task has failed.
func (t *Task) Wait(ctx context.Context) (json.RawMessage, error) {
	failures, heard := 0, time.Now()
	for polls := 1; ; polls++ {
		if t.ID != "" {
			if err := pause(ctx, t.client.cfg.PollDelay); err != nil {
				return nil, fmt.Errorf("agent: %s: task %s goes on: %w", t.Method, t.ID, err)
			}
		}
		value, done, err := t.Get(ctx)
		switch {
		case err == nil && done:
			return value, nil
		case err == nil:
			failures, heard = 0, time.Now()
		case !transient(ctx, err):
			return nil, err
		case errors.Is(err, ErrNobody) && t.client.cfg.Tolerate > 0 && time.Since(heard) < absence:
		default:
			if failures++; failures > t.client.cfg.Tolerate {
				return nil, fmt.Errorf("agent: %s: task %s could not be asked for %d times in a row: %w", t.Method, t.ID, failures, err)
			}
		}
		t.client.cfg.Progress(Progress{Method: t.Method, TaskID: t.ID, Elapsed: time.Since(t.began), Polls: polls, Err: err})
	}
}

// Cancel asks the agent to end the task. It fails with a *RemoteError when the task cannot be cancelled or is unknown. Wait
// then returns what the task came to.
func (t *Task) Cancel(ctx context.Context) error {
	if t.ID == "" {
		return nil
	}
	_, err := t.client.do(ctx, "cancel_task", t.ID)
	return err
}

// transient tells whether it makes sense to ask once more.
func transient(ctx context.Context, err error) bool {
	var remote *RemoteError
	if errors.As(err, &remote) {
		return errors.Is(err, ErrRestarting)
	}
	return ctx.Err() == nil && !errors.Is(err, ErrAuthentication)
}

func pause(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// WaitUntilReady pings until the agent answers or ctx ends, with a pause of PollDelay; each ping has a second. Credentials
// and certificates that do not fit end it at once: waiting does not mend them.
func (c *Client) WaitUntilReady(ctx context.Context) error {
	for {
		ping, cancel := context.WithTimeout(ctx, time.Second)
		err := c.Ping(ping)
		cancel()
		if err == nil || isHopeless(err) {
			return err
		}
		if pause(ctx, c.cfg.PollDelay) != nil {
			return fmt.Errorf("agent: not ready: %w; last: %w", context.Cause(ctx), err)
		}
	}
}
