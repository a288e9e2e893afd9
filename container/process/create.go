package process

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// Create makes a container. Spec.RootFS has no effect. Bind mounts must not lie in each other or hide container.AppHome
// (container.ErrUnsupported), and their source must exist.
func (b *Backend) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	if spec.Handle == "" {
		spec.Handle = newHandle()
	}
	c, err := b.create(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("create container %q: %w", spec.Handle, err)
	}
	return c, nil
}

func (b *Backend) create(ctx context.Context, spec container.Spec) (c *box, err error) {
	if err := containerkit.CheckSpec(spec); err != nil {
		return nil, err
	}
	mounts := containerkit.CleanMounts(spec.BindMounts)
	if err := checkMounts(mounts); err != nil {
		return nil, err
	}
	c = b.newBox(spec.Handle)
	c.marker = b.prefix + spec.Handle + "." + newHandle()
	c.since = ticksNow()
	c.mounts, c.env, c.properties = mounts, slices.Clone(spec.Env), maps.Clone(spec.Properties)
	c.limits = containerkit.CloneLimits(spec.Limits)
	done, err := b.fleet.Reserve(ctx, c.handle, c)
	if err != nil {
		return nil, err
	}
	defer done()
	if c.root, err = makeFiles(c.dir, mounts); err == nil {
		if err = b.publish(ctx, c); err == nil {
			return c, nil
		}
		c.letGo()
	}
	if !errors.Is(err, container.ErrExists) { // else what stands there is not ours
		err = errors.Join(err, removeTree(b.depot, c.handle))
	}
	b.fleet.Forget(c.handle, c)
	return nil, err
}

func (b *Backend) newBox(handle string) *box {
	c := &box{
		b:        b,
		handle:   handle,
		dir:      filepath.Join(b.depot.Name(), handle),
		state:    container.StateActive,
		procs:    map[uint32]*process{},
		sessions: map[int]lifetime{},
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// publish makes a container visible: to our successor, by the record without which it would be half made, and to all.
func (b *Backend) publish(ctx context.Context, c *box) error {
	c.mu.Lock()
	err := c.save()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return b.fleet.Publish(ctx, c.handle, c)
}

// newHandle draws a handle of the form that Warden gives: 11 characters 0-9 and a-v.
func newHandle() string {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	return strings.ToLower(base32.HexEncoding.EncodeToString(random))[:11]
}
