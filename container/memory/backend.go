package memory

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
)

// ErrClosed: Close was called.
var ErrClosed = errors.New("back end is closed")

// Options are the options of [New]. The zero value is usable, but for want of programs can run nothing.
type Options struct {
	// Programs are the programs of all containers, by absolute path ("/bin/bash") or by base name ("bash"), which
	// stands for that name in every directory.
	Programs map[string]Program

	// Default runs what is not among Programs. Nil means that there is no such program, and Run says so.
	Default Program

	// StopGrace is how long processes have to act on SIGTERM. Default 10 s (Warden).
	StopGrace time.Duration
}

// Backend makes containers in memory. It implements container.Backend.
type Backend struct {
	opts Options

	mu     sync.Mutex // taken after that of a container
	closed bool
	boxes  map[string]*Container
	ports  map[uint16]bool // in use
	port   uint16          // drawn last
	hooks  map[Call][]Hook
}

var _ container.Backend = (*Backend)(nil)

// New returns a back end without containers. The caller calls Close, which ends what still runs.
func New(opts Options) *Backend {
	opts.Programs = maps.Clone(opts.Programs)
	opts.StopGrace = cmp.Or(opts.StopGrace, 10*time.Second)
	return &Backend{opts: opts, boxes: map[string]*Container{}, ports: map[uint16]bool{}, hooks: map[Call][]Hook{}}
}

// Capabilities tells that memory is watched, by the figures of Process.SetLoad, and nothing else is enforced.
func (b *Backend) Capabilities() container.Capabilities {
	return container.Capabilities{Name: "memory", Memory: container.Watched}
}

// Create makes a container with the directories container.AppHome and /tmp. Spec.RootFS and bind mounts have no effect.
func (b *Backend) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	spec.Handle = cmp.Or(spec.Handle, strings.ToLower(rand.Text()[:11]))
	err := checkSpec(spec)
	if err == nil {
		err = b.begin(ctx, Create, spec.Handle)
	}
	c := newContainer(b, spec)
	if err == nil {
		err = b.add(c)
	}
	if err != nil {
		return nil, fmt.Errorf("create container %q: %w", spec.Handle, err)
	}
	return c, nil
}

func (b *Backend) add(c *Container) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	if b.boxes[c.spec.Handle] != nil {
		return container.ErrExists
	}
	b.boxes[c.spec.Handle] = c
	return nil
}

func checkSpec(spec container.Spec) error {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	if len(spec.Handle) > 64 || strings.ContainsFunc(spec.Handle, odd) {
		return fmt.Errorf("handle must be 1 to 64 letters, digits, '-' and '_': %w", container.ErrInvalid)
	}
	for _, m := range spec.BindMounts {
		if !path.IsAbs(m.Src) || m.Dst != "" && !path.IsAbs(m.Dst) {
			return fmt.Errorf("bind mount of %q at %q is not absolute: %w", m.Src, m.Dst, container.ErrInvalid)
		}
	}
	_, err := environment(spec.Env)
	return errors.Join(err, checkLimits(spec.Limits))
}

func checkLimits(l container.Limits) error {
	b := container.Bandwidth{}
	if l.Bandwidth != nil {
		b = *l.Bandwidth
	}
	if min(l.MemoryBytes, l.DiskBytes, l.DiskInodes, l.CPUShares, l.PIDs, b.BytesPerSecond, b.BurstBytes) < 0 || !(l.CPUQuota >= 0) {
		return fmt.Errorf("a limit is negative: %w", container.ErrInvalid)
	}
	return nil
}

// Lookup finds a container that this back end made.
func (b *Backend) Lookup(ctx context.Context, handle string) (container.Container, error) {
	err := b.begin(ctx, Lookup, handle)
	c := b.Container(handle)
	if err == nil && c == nil {
		err = container.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("look up container %q: %w", handle, err)
	}
	return c, nil
}

// List returns the handles of all containers, sorted.
func (b *Backend) List(ctx context.Context) ([]string, error) {
	if err := b.begin(ctx, List, ""); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.boxes)), nil
}

// Container returns a container, or nil if it does not exist. No hook is called: this is for tests.
func (b *Backend) Container(handle string) *Container {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.boxes[handle]
}

// Close destroys all containers, without any hook, and returns when their processes have ended and their output has been
// delivered, or when ctx ends. Create fails with ErrClosed from then on.
func (b *Backend) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	boxes := slices.Collect(maps.Values(b.boxes))
	b.mu.Unlock()
	for _, c := range boxes {
		if err := c.destroy(ctx); err != nil && !errors.Is(err, container.ErrNotFound) {
			return fmt.Errorf("close memory back end: %w", err)
		}
		for _, p := range c.Processes() {
			if _, err := p.Wait(ctx); err != nil {
				return fmt.Errorf("close memory back end: %w", err)
			}
		}
	}
	return nil
}

// firstPort begins the ports that are drawn: those behind the range that Linux draws from by default.
const firstPort = 61000

// takePort reserves a port, the next free one if it is 0. One that was given back comes last.
func (b *Backend) takePort(port uint16) (uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for tries := 0; port == 0 && tries <= 1<<16-firstPort; tries++ {
		b.port = max(b.port+1, firstPort) // behind 65535 comes 0
		if !b.ports[b.port] {
			port = b.port
		}
	}
	if port == 0 || b.ports[port] {
		return 0, container.ErrNoPort
	}
	b.ports[port] = true
	return port, nil
}
