package warden

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/internal/containerkit"
)

// ExchangeDir is where containers see the directory of the pipes through which the streams of their processes go.
const ExchangeDir = "/deakit"

// Create makes a container.
func (b *Backend) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	if spec.Handle == "" {
		spec.Handle = strings.ToLower(rand.Text())[:11] // as long as those of the original
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
	mounts, err := resolveMounts(spec.BindMounts)
	if err != nil {
		return nil, err
	}
	c = b.newBox(spec.Handle, newRecord(spec, mounts))
	done, err := b.fleet.Reserve(ctx, c.handle, c)
	if err != nil {
		return nil, err
	}
	defer done()
	spec.BindMounts = mounts
	if err = b.makeState(ctx, c); err == nil {
		if err = c.make(ctx, spec); err == nil {
			b.fleet.Add(c.handle, c)
			return c, nil
		}
		err = errors.Join(err, b.state.remove(c.handle))
	}
	b.fleet.Forget(c.handle, c)
	return nil, err
}

// makeState makes the directory of a container, in place of one whose container is gone.
func (b *Backend) makeState(ctx context.Context, c *box) error {
	err := b.state.make(c.handle, c.record)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	_, err = b.info(ctx, c.handle)
	switch {
	case err == nil:
		return container.ErrExists
	case !errors.Is(err, container.ErrNotFound):
		return err
	}
	if err := b.state.remove(c.handle); err != nil {
		return err
	}
	return b.state.make(c.handle, c.record)
}

// make has the server make the container, and does what else Spec asks for. When it fails, the server has none.
func (c *box) make(ctx context.Context, spec container.Spec) error {
	request := &protocol.CreateRequest{Handle: &c.handle}
	if spec.RootFS != "" {
		request.Rootfs = &spec.RootFS
	}
	if c.b.opts.GraceTime > 0 {
		request.GraceTime = proto.Uint32(uint32(math.Ceil(c.b.opts.GraceTime.Seconds()))) // 0 is not at all
	}
	exchange := container.BindMount{Src: filepath.Join(c.dir(), exchangeName), Dst: ExchangeDir}
	for _, m := range append(slices.Clone(spec.BindMounts), exchange) {
		mode := protocol.CreateRequest_BindMount_RO
		if m.Writable {
			mode = protocol.CreateRequest_BindMount_RW
		}
		request.BindMounts = append(request.BindMounts, &protocol.CreateRequest_BindMount{SrcPath: &m.Src, DstPath: &m.Dst, Mode: &mode})
	}
	// Not ended by ctx: a container that nobody knows of would be left.
	if _, err := quick[*protocol.CreateResponse](c.b.ctx, c.b, request); err != nil {
		if errors.Is(err, ErrConnection) {
			err = errors.Join(err, c.discard())
		}
		return err
	}
	err := c.furnish(ctx, spec.Limits)
	if err != nil {
		err = errors.Join(err, c.discard())
	}
	return err
}

// furnish is what comes after the container is there, in the order of the DEA.
func (c *box) furnish(ctx context.Context, limits container.Limits) error {
	if err := c.b.keeper.refer(ctx, c.handle); err != nil {
		return err
	}
	if err := c.setLimits(ctx, limits); err != nil {
		return err
	}
	if err := c.findRoot(ctx); err != nil {
		return err
	}
	c.record.Whole = true
	return c.save()
}

// discard destroys a container that Create gives up.
func (c *box) discard() error {
	_, err := quick[*protocol.DestroyResponse](c.b.ctx, c.b, &protocol.DestroyRequest{Handle: &c.handle})
	if errors.Is(err, container.ErrNotFound) {
		return nil
	}
	if err != nil {
		c.b.log.Warn("warden.create.left-behind", "handle", c.handle, "error", err)
	}
	return err
}

// findRoot finds out by which name processes know the root of the container.
func (c *box) findRoot(ctx context.Context) error {
	r, err := c.script(ctx, `printf %s "$HOME"`, false)
	if err != nil {
		return err
	}
	root, ok := strings.CutSuffix(r.GetStdout(), container.AppHome)
	if !ok || r.GetExitStatus() != 0 || root != "" && !path.IsAbs(root) {
		return fmt.Errorf("the home directory of %s is %q, not %s, or there is no bash: exit status %d: %.200s", container.AppUser,
			r.GetStdout(), container.AppHome, r.GetExitStatus(), r.GetStderr())
	}
	c.record.Root = root
	return nil
}

// script runs a shell script in the container, and returns what it printed.
func (c *box) script(ctx context.Context, text string, privileged bool) (*protocol.RunResponse, error) {
	return quick[*protocol.RunResponse](ctx, c.b, &protocol.RunRequest{Handle: &c.handle, Script: &text, Privileged: &privileged})
}

// resolveMounts returns the mounts with their destinations filled in, and their sources without links: that is how
// processes of a container without a root of its own see them.
func resolveMounts(mounts []container.BindMount) ([]container.BindMount, error) {
	mounts = slices.Clone(mounts)
	for i := range mounts {
		m := &mounts[i]
		if m.Dst == "" {
			m.Dst = m.Src
		}
		src, err := filepath.EvalSymlinks(m.Src)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("source path for bind mount: %w: %w", err, container.ErrInvalid)
		}
		if err != nil {
			return nil, err
		}
		m.Src, m.Dst = src, path.Clean(m.Dst)
	}
	return mounts, nil
}
