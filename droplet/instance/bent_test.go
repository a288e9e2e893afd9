package instance_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/deakit/deakit/container"
)

// A bent back end is a real one of which some calls fail, and which claims other capabilities.
type bent struct {
	container.Backend
	caps     func(*container.Capabilities)
	stops    atomic.Int32 // that fail from now on
	destroys atomic.Int32
	failed   atomic.Int32 // calls that have failed

	measures chan struct{} // if not nil, measurements begin with a value here, and hang

	mu    sync.Mutex
	calls []string // to make a container, in their order
	spec  container.Spec
}

func (b *bent) called(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
}

var errBent = errors.New("the back end does not work")

func (b *bent) Capabilities() container.Capabilities {
	caps := b.Backend.Capabilities()
	if b.caps != nil {
		b.caps(&caps)
	}
	return caps
}

func (b *bent) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	b.called("Create")
	b.spec = spec
	c, err := b.Backend.Create(ctx, spec)
	return bentContainer{c, b}, err
}

func (b *bent) Lookup(ctx context.Context, handle string) (container.Container, error) {
	c, err := b.Backend.Lookup(ctx, handle)
	return bentContainer{c, b}, err
}

func (b *bent) fails(calls *atomic.Int32) bool {
	if calls.Add(-1) < 0 {
		calls.Add(1)
		return false
	}
	b.failed.Add(1)
	return true
}

type bentContainer struct {
	container.Container
	b *bent
}

func (c bentContainer) NetIn(ctx context.Context, host, inside uint16) (container.PortMapping, error) {
	c.b.called("NetIn %d %d", host, inside)
	return c.Container.NetIn(ctx, host, inside)
}

func (c bentContainer) NetOut(ctx context.Context, rule container.EgressRule) error {
	c.b.called("NetOut %s %s %s", rule.Protocol, rule.Network, rule.Ports)
	return c.Container.NetOut(ctx, rule)
}

func (c bentContainer) Stop(ctx context.Context, kill bool) error {
	if c.b.fails(&c.b.stops) {
		return errBent
	}
	return c.Container.Stop(ctx, kill)
}

func (c bentContainer) Destroy(ctx context.Context) error {
	if c.b.fails(&c.b.destroys) {
		return errBent
	}
	return c.Container.Destroy(ctx)
}

func (c bentContainer) Usage(ctx context.Context) (container.Usage, error) {
	if c.b.measures == nil {
		return c.Container.Usage(ctx)
	}
	c.b.measures <- struct{}{}
	<-ctx.Done()
	return container.Usage{}, context.Cause(ctx)
}
