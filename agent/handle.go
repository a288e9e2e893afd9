package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/task"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/messaging"
)

// A MethodError is the failure of a method, in the words of the Go agent.
type MethodError struct {
	Method string
	Err    error
}

func (e *MethodError) Error() string { return fmt.Sprintf("Action Failed %s: %v", e.Method, e.Err) }

func (e *MethodError) Unwrap() error { return e.Err }

// ShortError implements transport.Shortener.
func (e *MethodError) ShortError() string {
	return fmt.Sprintf("Action Failed %s: %s", e.Method, short(e.Err))
}

// short is the shorter text of an error, if it has one.
func short(err error) string {
	var s transport.Shortener
	if errors.As(err, &s) {
		return s.ShortError()
	}
	return err.Error()
}

// UnknownMethodError: there is no method of this name. Clients look for its first words.
type UnknownMethodError struct{ Method string }

func (e *UnknownMethodError) Error() string { return fmt.Sprintf("unknown message %.200s", e.Method) }

// ErrBusy: as many requests are under way as the Config lets in.
var ErrBusy = transport.ErrBusy

// Handle does what a request asks; it is the transport.Handler of the agent. What takes long becomes a task, so it returns
// soon for all but those methods that do their work at once. Call it while Run runs: before, nothing is known of the tasks of an
// earlier process, and those that begin would take their place.
func (a *Agent) Handle(ctx context.Context, request transport.Request) transport.Reply {
	m, ok := a.methods.Lookup(request.Method)
	if !ok {
		return transport.Reply{Err: &UnknownMethodError{request.Method}}
	}
	value, err := a.run(ctx, m, request)
	if err != nil {
		return transport.Reply{Err: &MethodError{m.Name, err}}
	}
	return transport.Reply{Value: value}
}

func (a *Agent) run(ctx context.Context, m *action.Action, request transport.Request) (json.RawMessage, error) {
	call, err := m.Bind(request.Arguments)
	if err != nil {
		return nil, a.logged(m, err)
	}
	asked := about(m, request)
	if m.IsAsync(asked.Protocol) {
		return a.start(m, call, asked, request)
	}
	if !m.Quick {
		leave, err := a.enter(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	value, err := call(action.With(ctx, asked))
	return value, a.logged(m, err)
}

// about is what a method may know of its request.
func about(m *action.Action, request transport.Request) action.Request {
	return action.Request{Method: m.Name, Protocol: int(request.Protocol), ReplyTo: request.ReplyTo}
}

// start makes a task of a call.
func (a *Agent) start(m *action.Action, call action.Call, asked action.Request, request transport.Request) (json.RawMessage, error) {
	spec := task.Spec{
		Method: m.Name, Cancellable: m.Cancellable, Do: a.work(m, call, asked), Size: max(len(request.Arguments), len(request.Raw)),
	}
	if m.Resume != nil {
		spec.Persistent, spec.BeginsItself = request.Raw, m.BeginsItself
	}
	id, err := a.tasks.Start(spec)
	if err != nil {
		return nil, err
	}
	return action.Encode(messaging.AgentTask{State: messaging.AgentTaskRunning, ID: id})
}

// work is what a task does.
func (a *Agent) work(m *action.Action, call action.Call, asked action.Request) task.Func {
	return func(ctx context.Context, id string) (json.RawMessage, error) {
		asked.TaskID = id
		value, err := call(action.With(ctx, asked))
		return value, a.logged(m, err)
	}
}

// resumption is what becomes of a task of this method that was interrupted.
func (a *Agent) resumption(m *action.Action) task.Func {
	return func(ctx context.Context, id string) (json.RawMessage, error) {
		value, err := m.Resume(action.With(ctx, action.Request{Method: m.Name, TaskID: id}))
		if err != nil {
			return nil, err
		}
		return action.Encode(value)
	}
}

// enter waits for a place among the requests that are at work.
func (a *Agent) enter(ctx context.Context) (leave func(), err error) {
	select {
	case a.waiting <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case a.busy <- struct{}{}:
		return func() { <-a.busy; <-a.waiting }, nil
	case <-ctx.Done():
		<-a.waiting
		return nil, context.Cause(ctx)
	}
}

// logged tells of a method that broke, with the stack, which the caller does not get. What a task broke of is told once, and not
// whenever somebody asks for the task.
func (a *Agent) logged(m *action.Action, err error) error {
	var broken *action.PanicError
	var told *taskError
	if errors.As(err, &broken) && !errors.As(err, &told) {
		a.log.Error("agent.method.panic", "method", m.Name, "error", broken.Value, "stack", string(broken.Stack))
	}
	return err
}
