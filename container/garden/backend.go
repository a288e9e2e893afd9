package garden

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// The properties that this package keeps.
const (
	limitsProperty  = PropertyPrefix + "limits"  // container.Limits as JSON
	stoppedProperty = PropertyPrefix + "stopped" // "true" from Stop on
	lastProperty    = PropertyPrefix + "last"    // the highest number that a process was given
	rootProperty    = PropertyPrefix + "root"    // container.Info.Root
)

// A Backend makes containers through a Garden server. It implements container.Backend. Two of them must not start
// processes in one container at a time.
type Backend struct {
	opts   Options
	caps   container.Capabilities
	client *client
	log    *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	fleet containerkit.Fleet[box] // with all goroutines but those that read a caller's input
}

var _ container.Backend = (*Backend)(nil)

// New asks a Garden server whether it is there. The caller calls Close. ctx bounds the call alone.
//
// Errors are ErrConnection, container.ErrInvalid and *ServerError.
func New(ctx context.Context, opts Options) (*Backend, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open Garden back end: %w", err)
	}
	b := &Backend{opts: opts, caps: guardian, client: newClient(opts), log: opts.Logger}
	if opts.Capabilities != nil {
		b.caps = *opts.Capabilities
		b.caps.ReplaysOutput = false // whatever the server can
	}
	if err := b.client.quick(ctx, "GET", "/ping", nil, nil); err != nil {
		b.client.close()
		return nil, fmt.Errorf("open Garden back end at %s: %w", opts.Address, err)
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

// Capabilities tells what the server's containers are confined by.
func (b *Backend) Capabilities() container.Capabilities { return b.caps }

// List returns the handles of all containers of the server, also those of other clients.
func (b *Backend) List(ctx context.Context) ([]string, error) {
	var answer struct{ Handles []string }
	if err := b.client.quick(ctx, "GET", "/containers", nil, &answer); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return answer.Handles, nil
}

// Lookup finds a container of the server.
func (b *Backend) Lookup(ctx context.Context, handle string) (container.Container, error) {
	c, err := b.lookup(ctx, handle)
	if err != nil {
		return nil, fmt.Errorf("look up container %q: %w", handle, err)
	}
	return c, nil
}

func (b *Backend) lookup(ctx context.Context, handle string) (*box, error) {
	if _, err := b.info(ctx, handle); err != nil {
		return nil, err
	}
	return b.fleet.FindOrAdd(handle, func() (*box, error) { return b.newBox(handle), nil })
}

func (b *Backend) info(ctx context.Context, handle string) (info containerInfo, err error) {
	return info, b.client.quick(ctx, "GET", path("containers", handle, "info"), nil, &info)
}

// Create makes a container. Spec.RootFS is a directory, or any other URI that the server takes for an image.
func (b *Backend) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	if spec.Handle == "" {
		spec.Handle = strings.ToLower(rand.Text())[:11]
	}
	c, err := b.create(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("create container %q: %w", spec.Handle, err)
	}
	return c, nil
}

func (b *Backend) create(ctx context.Context, spec container.Spec) (*box, error) {
	request, err := b.newSpec(spec)
	if err != nil {
		return nil, err
	}
	c := b.newBox(spec.Handle)
	done, err := b.fleet.Reserve(ctx, c.handle, c)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := c.make(ctx, request); err != nil {
		b.fleet.Forget(c.handle, c)
		return nil, err
	}
	b.fleet.Add(c.handle, c)
	return c, nil
}

// make has the server make the container. Not ended by ctx: a container that nobody knows of would be left.
func (c *box) make(ctx context.Context, request *containerSpec) error {
	err := c.b.client.do(c.b.ctx, "POST", "/containers", request, nil)
	if err == nil {
		if err = ctx.Err(); err == nil {
			err = c.findRoot(ctx)
		}
	} else if !errors.Is(err, ErrConnection) {
		return err
	}
	if err != nil {
		if err := c.b.client.do(c.b.ctx, "DELETE", path("containers", c.handle), nil, nil); err != nil && !errors.Is(err, container.ErrNotFound) {
			c.b.log.Warn("garden.create.left-behind", "handle", c.handle, "error", err)
		}
	}
	return err
}

// newSpec translates.
func (b *Backend) newSpec(spec container.Spec) (*containerSpec, error) {
	if err := containerkit.CheckSpec(spec); err != nil {
		return nil, err
	}
	l := spec.Limits
	remembered, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	r := &containerSpec{
		Handle: spec.Handle, GraceTime: b.opts.GraceTime, Image: imageRef{URI: spec.RootFS}, Privileged: b.opts.Privileged,
		Env: containerkit.MergeEnv(containerkit.DefaultEnv(), spec.Env), Properties: map[string]string{limitsProperty: string(remembered)},
		Limits: limits{
			CPU: cpuLimits{Weight: uint64(l.CPUShares)}, Memory: memoryLimits{Bytes: uint64(l.MemoryBytes)},
			Disk: diskLimits{InodeHard: uint64(l.DiskInodes), ByteHard: uint64(l.DiskBytes), Scope: exclusiveScope},
			Pid:  pidLimits{Max: uint64(l.PIDs)},
		},
	}
	if l.Bandwidth != nil {
		r.Limits.Bandwidth = bandwidthLimits{Rate: uint64(l.Bandwidth.BytesPerSecond), Burst: uint64(l.Bandwidth.BurstBytes)}
	}
	for name, value := range spec.Properties {
		if strings.HasPrefix(name, PropertyPrefix) {
			return nil, fmt.Errorf("property %q: names that begin with %q are taken: %w", name, PropertyPrefix, container.ErrInvalid)
		}
		r.Properties[name] = value
		if !utf8.ValidString(name + value) {
			return nil, fmt.Errorf("property %q: %w", name, ErrNotText)
		}
	}
	for _, m := range spec.BindMounts {
		mount := bindMount{SrcPath: m.Src, DstPath: m.Dst}
		if mount.DstPath == "" {
			mount.DstPath = m.Src
		}
		if m.Writable {
			mount.Mode = 1
		}
		r.BindMounts = append(r.BindMounts, mount)
	}
	if !utf8.ValidString(strings.Join(spec.Env, "")) {
		return nil, fmt.Errorf("environment: %w", ErrNotText)
	}
	return r, nil
}

// Close ends the connections and leaves the containers alone. Whoever waits for a process gets ErrClosed. It returns when
// all goroutines have ended, but for those that wait for a caller's input or output; when ctx ends first, it may be called
// again.
func (b *Backend) Close(ctx context.Context) error {
	b.fleet.Refuse(ErrClosed)
	b.cancel()
	if err := b.fleet.Wait(ctx); err != nil {
		return fmt.Errorf("close Garden back end: %w", err)
	}
	b.client.close()
	return nil
}
