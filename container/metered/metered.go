// Package metered counts what is asked of a back end, how long that took and how often it failed: the figures that dea_ng
// kept of its Warden. Wrap a back end once, and give the wrapped one to everybody.
package metered

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/deakit/deakit/container"
)

// A Backend is a container.Backend whose calls, and those of its containers, are counted. Waiting for a process is none of
// them: it says nothing of the back end.
type Backend struct {
	backend  container.Backend
	requests atomic.Uint64
	errors   atomic.Uint64
	time     atomic.Int64
}

// New counts the calls of a back end.
func New(b container.Backend) *Backend { return &Backend{backend: b} }

// Stats are the figures of a Backend since it was made.
type Stats struct {
	Requests, Errors uint64
	Time             time.Duration // of all requests together
}

// Stats returns the figures.
func (b *Backend) Stats() Stats {
	return Stats{b.requests.Load(), b.errors.Load(), time.Duration(b.time.Load())}
}

// Varz returns the figures under the names that they have on /varz (dea_ng since 2014).
func (s Stats) Varz() map[string]any {
	return map[string]any{
		"total_warden_response_time_in_ms": s.Time.Milliseconds(),
		"warden_request_count":             s.Requests,
		"warden_error_response_count":      s.Errors,
	}
}

// done counts a call that began at began.
func (b *Backend) done(began time.Time, err error) {
	b.requests.Add(1)
	b.time.Add(int64(time.Since(began)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // to look for what may not be there is no failure
		b.errors.Add(1)
	}
}

func counted[T any](b *Backend, call func() (T, error)) (T, error) {
	began := time.Now()
	value, err := call()
	b.done(began, err)
	return value, err
}

// wrap counts a container's calls from now on.
func (b *Backend) wrap(c container.Container, err error) (container.Container, error) {
	if err != nil {
		return nil, err
	}
	return box{c, b}, nil
}

// Create implements container.Backend.
func (b *Backend) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	return b.wrap(counted(b, func() (container.Container, error) { return b.backend.Create(ctx, spec) }))
}

// Lookup implements container.Backend.
func (b *Backend) Lookup(ctx context.Context, handle string) (container.Container, error) {
	return b.wrap(counted(b, func() (container.Container, error) { return b.backend.Lookup(ctx, handle) }))
}

// List implements container.Backend.
func (b *Backend) List(ctx context.Context) ([]string, error) {
	return counted(b, func() ([]string, error) { return b.backend.List(ctx) })
}

// Capabilities implements container.Backend.
func (b *Backend) Capabilities() container.Capabilities { return b.backend.Capabilities() }

// box counts the calls of a container.
type box struct {
	container.Container
	b *Backend
}

func (c box) Info(ctx context.Context) (container.Info, error) {
	return counted(c.b, func() (container.Info, error) { return c.Container.Info(ctx) })
}

func (c box) Run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (container.Process, error) {
	return counted(c.b, func() (container.Process, error) { return c.Container.Run(ctx, spec, pio) })
}

func (c box) Attach(ctx context.Context, id uint32, pio container.IO) (container.Process, error) {
	return counted(c.b, func() (container.Process, error) { return c.Container.Attach(ctx, id, pio) })
}

func (c box) NetIn(ctx context.Context, hostPort, containerPort uint16) (container.PortMapping, error) {
	return counted(c.b, func() (container.PortMapping, error) { return c.Container.NetIn(ctx, hostPort, containerPort) })
}

func (c box) StreamOut(ctx context.Context, p string) (io.ReadCloser, error) {
	return counted(c.b, func() (io.ReadCloser, error) { return c.Container.StreamOut(ctx, p) })
}

func (c box) Usage(ctx context.Context) (container.Usage, error) {
	return counted(c.b, func() (container.Usage, error) { return c.Container.Usage(ctx) })
}

// plain is counted for calls without a result.
func (c box) plain(call func() error) error {
	_, err := counted(c.b, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

func (c box) SetLimits(ctx context.Context, limits container.Limits) error {
	return c.plain(func() error { return c.Container.SetLimits(ctx, limits) })
}

func (c box) NetOut(ctx context.Context, rule container.EgressRule) error {
	return c.plain(func() error { return c.Container.NetOut(ctx, rule) })
}

func (c box) StreamIn(ctx context.Context, dir, user string, tar io.Reader) error {
	return c.plain(func() error { return c.Container.StreamIn(ctx, dir, user, tar) })
}

func (c box) Stop(ctx context.Context, kill bool) error {
	return c.plain(func() error { return c.Container.Stop(ctx, kill) })
}

func (c box) Destroy(ctx context.Context) error {
	return c.plain(func() error { return c.Container.Destroy(ctx) })
}
