package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/deakit/deakit/messaging"
)

// A Transport carries one request to an agent and its reply back. It may be used from any goroutine.
type Transport interface {
	Do(ctx context.Context, request messaging.AgentRequest) (messaging.AgentReply, error)
}

// Blobs is where old agents put output that belongs to an exception.
type Blobs interface {
	Get(ctx context.Context, id string) (io.ReadCloser, error)
	Delete(ctx context.Context, id string) error
}

// Config of a Client.
type Config struct {
	Transport Transport // required

	// ReplyTo is what requests say of who asks; over NATS the transport chooses a subject. Empty: "deakit".
	ReplyTo string

	// Protocol number of requests, 0 to 3. With 3, as today's director has it, stop waits and list_disk is a task; the
	// public client sends none.
	Protocol int

	// PollDelay is the pause before each question whether a task has ended; default 1 s.
	PollDelay time.Duration

	// Tolerate so many questions in a row that fail on their way, before a task is given up; default 10, -1 for none.
	Tolerate int

	// Retries is how many times more a request is sent when no reply came in time, by method; nil for none. What is sent again
	// may be done twice. See [DirectorRetries].
	Retries map[string]int

	// Progress, when set, is told of each answer that a task goes on, and of each question that failed. It must not block.
	Progress func(Progress)

	// Blobs, when set, has the output of exceptions that name a blob. It is read once, and deleted.
	Blobs Blobs

	Logger *slog.Logger // nil discards
}

// Progress of a task that has not ended.
type Progress struct {
	Method  string
	TaskID  string
	Elapsed time.Duration // since the task was started
	Polls   int           // questions so far
	Err     error         // why the last question failed; nil: the task goes on
}

// A Client talks to one agent. It may be used from any goroutine.
type Client struct{ cfg Config }

// New returns a client. It sends nothing. It panics without a transport.
func New(cfg Config) *Client {
	if cfg.Transport == nil {
		panic("agent client: a Transport is required")
	}
	if cfg.ReplyTo == "" {
		cfg.ReplyTo = "deakit"
	}
	if cfg.PollDelay <= 0 {
		cfg.PollDelay = time.Second
	}
	if cfg.Tolerate == 0 {
		cfg.Tolerate = 10
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg}
}

// Call sends one request and returns the value of its reply, which is a task's where the method is one (see Run and Start).
// It fails with a *RemoteError when the agent answered with an exception, else as the transport does.
func (c *Client) Call(ctx context.Context, method string, arguments ...any) (json.RawMessage, error) {
	reply, err := c.do(ctx, method, arguments...)
	return reply.Value, err
}

func (c *Client) do(ctx context.Context, method string, arguments ...any) (messaging.AgentReply, error) {
	request, err := messaging.NewAgentRequest(method, c.cfg.ReplyTo, arguments...)
	if err != nil {
		return messaging.AgentReply{}, err
	}
	request.Protocol = messaging.Int(c.cfg.Protocol)
	reply, err := c.send(ctx, request)
	switch {
	case err != nil:
		return messaging.AgentReply{}, fmt.Errorf("agent: %s: %w", method, err)
	case reply.Exception != nil:
		return messaging.AgentReply{}, c.remoteError(ctx, method, *reply.Exception)
	}
	return reply, nil
}

// Run calls a method and, where it is a task, waits until that has ended. It fails as [Client.Call] and [Task.Wait] do.
func (c *Client) Run(ctx context.Context, method string, arguments ...any) (json.RawMessage, error) {
	task, err := c.Start(ctx, method, arguments...)
	if err != nil {
		return nil, err
	}
	return task.Wait(ctx)
}

// into reads a value into T. Null is the zero T.
func into[T any](method string, value json.RawMessage, err error) (T, error) {
	var result T
	if err != nil || len(value) == 0 {
		return result, err
	}
	if err := json.Unmarshal(value, &result); err != nil {
		return result, fmt.Errorf("agent: %s: result %.80q is not of the expected form: %w", method, value, err)
	}
	return result, nil
}

// call is Call with a typed result.
func call[T any](ctx context.Context, c *Client, method string, arguments ...any) (T, error) {
	value, err := c.Call(ctx, method, arguments...)
	return into[T](method, value, err)
}

// run is Run with a typed result.
func run[T any](ctx context.Context, c *Client, method string, arguments ...any) (T, error) {
	value, err := c.Run(ctx, method, arguments...)
	return into[T](method, value, err)
}

// done is Run for methods whose result says nothing.
func (c *Client) done(ctx context.Context, method string, arguments ...any) error {
	_, err := c.Run(ctx, method, arguments...)
	return err
}
