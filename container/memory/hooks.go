package memory

import (
	"context"
	"sync"
)

// A Call is a method of a Backend, a Container or a Process.
type Call string

// The calls that hooks can be put before.
const (
	Create    Call = "create"
	Lookup    Call = "lookup"
	List      Call = "list"
	Info      Call = "info"
	Run       Call = "run"
	Attach    Call = "attach"
	SetLimits Call = "set limits"
	NetIn     Call = "net in"
	NetOut    Call = "net out"
	StreamIn  Call = "stream in"
	StreamOut Call = "stream out"
	Usage     Call = "usage"
	Stop      Call = "stop"
	Destroy   Call = "destroy"
	Signal    Call = "signal"
)

// A Hook is called at the beginning of a call, with the context of that and the handle of the container (empty for List). If
// it returns an error, the call fails with that and does nothing. A hook may call the back end.
type Hook func(ctx context.Context, handle string) error

// Fail is a hook that fails.
func Fail(err error) Hook {
	return func(context.Context, string) error { return err }
}

// Next puts a hook before the next call of a kind, of any container; several are for so many calls, in their order. One
// that puts itself before the next call is for all.
func (b *Backend) Next(call Call, hook Hook) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hooks[call] = append(b.hooks[call], hook)
}

// begin is the beginning of a call.
func (b *Backend) begin(ctx context.Context, call Call, handle string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	next := b.hooks[call]
	if len(next) > 0 {
		b.hooks[call] = next[1:]
	}
	b.mu.Unlock()
	if len(next) == 0 {
		return nil
	}
	if err := next[0](ctx, handle); err != nil {
		return err
	}
	return ctx.Err()
}

// A Gate holds calls until the test lets them go: its Hold is a [Hook].
type Gate struct {
	reached, released chan struct{}
	reach, release    sync.Once
	err               error
}

// NewGate returns a gate that is shut.
func NewGate() *Gate {
	return &Gate{reached: make(chan struct{}), released: make(chan struct{})}
}

// Hold returns what Release is given, or the error of ctx if that ends first.
func (g *Gate) Hold(ctx context.Context, _ string) error {
	g.reach.Do(func() { close(g.reached) })
	select {
	case <-g.released:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reached is closed when the first call is held.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Release lets all calls go, those to come as well: with an error they fail. A second Release does nothing.
func (g *Gate) Release(err error) {
	g.release.Do(func() {
		g.err = err
		close(g.released)
	})
}
