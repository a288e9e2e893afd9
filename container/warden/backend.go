package warden

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/internal/containerkit"
)

var (
	// ErrClosed: Close was called.
	ErrClosed = errors.New("back end is closed")
	// ErrStateInUse: another Backend works with the state directory.
	ErrStateInUse = errors.New("state directory is in use")
	// ErrNotState: the directory holds something and was not made by this package. What belongs to no container is
	// removed, so it must be a directory of its own.
	ErrNotState = errors.New("directory is not empty and not a state directory")
)

// A Backend makes containers through a Warden server. It implements container.Backend.
//
// The containers live on when it is closed or its process ends; the next Backend with the same state directory finds
// them, with their processes. It keeps a connection open, without which the server would destroy them after their grace
// time, and makes a new one whenever the server went away for a while.
//
// Containers of other clients are listed and can be looked up, described, stopped and destroyed; only processes without
// streams can be started in them.
type Backend struct {
	opts   Options
	conns  *connections
	keeper *keeper
	caps   container.Capabilities
	state  *stateDir

	described bool // the server is one of this package

	log *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	fleet containerkit.Fleet[box] // with all goroutines but those that read a caller's input
}

var _ container.Backend = (*Backend)(nil)

// New connects to a Warden server. The caller calls Close. ctx bounds the call alone.
//
// Errors are ErrConnection, ErrStateInUse, ErrNotState, container.ErrInvalid, *ServerError, and those of the file system.
func New(ctx context.Context, opts Options) (*Backend, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open Warden back end: %w", err)
	}
	b := &Backend{
		opts: opts, conns: &connections{network: opts.Network, address: opts.Address}, log: opts.Logger,
	}
	if err := b.open(ctx); err != nil {
		b.conns.close()
		return nil, fmt.Errorf("open Warden back end at %s: %w", opts.Address, err)
	}
	return b, nil
}

func (b *Backend) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, b.opts.Timeout)
	defer cancel()
	kept, err := b.conns.dial(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			kept.Close()
		}
	}()
	pong, err := kept.do(ctx, &protocol.PingRequest{Describe: proto.Bool(true)})
	if err != nil {
		return err
	}
	p, ok := pong.(*protocol.PingResponse)
	b.described = ok && p.GetDescription() != nil
	b.caps = b.opts.capabilities(p.GetDescription())
	if b.state, err = openState(b.opts.StateDir); err != nil {
		return err
	}
	handles, err := b.list(ctx)
	if err == nil {
		err = b.state.sweep(handles)
	}
	if err != nil {
		return errors.Join(err, b.state.close())
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.keeper = &keeper{conns: b.conns, references: make(chan reference), log: b.logConnection}
	return b.fleet.Go(func() { b.keeper.run(b.ctx, kept) })
}

func (o Options) capabilities(told *protocol.Description) container.Capabilities {
	if o.Capabilities != nil {
		caps := *o.Capabilities
		caps.ReplaysOutput, caps.PIDs = false, container.NotEnforced // whatever the server can
		return caps
	}
	if told != nil {
		return understand(told)
	}
	return linuxCapabilities
}

func (b *Backend) logConnection(connected bool, err error) {
	if connected {
		b.log.Info("warden.connection.restored", "address", b.opts.Address)
		return
	}
	b.log.Warn("warden.connection.lost", "address", b.opts.Address, "error", err)
}

// Capabilities tells what the server's containers are confined by.
func (b *Backend) Capabilities() container.Capabilities { return b.caps }

// List returns the handles of all containers of the server, also those of other clients.
func (b *Backend) List(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, b.opts.Timeout)
	defer cancel()
	handles, err := b.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return handles, nil
}

func (b *Backend) list(ctx context.Context) ([]string, error) {
	r, err := call[*protocol.ListResponse](ctx, b.conns, &protocol.ListRequest{})
	return r.GetHandles(), err
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
	info, err := b.info(ctx, handle)
	if err != nil {
		return nil, err
	}
	return b.fleet.FindOrAdd(handle, func() (*box, error) { return b.load(handle, info.GetJobIds()) })
}

// info asks for a container by its handle.
func (b *Backend) info(ctx context.Context, handle string) (*protocol.InfoResponse, error) {
	return quick[*protocol.InfoResponse](ctx, b, &protocol.InfoRequest{Handle: &handle, Unmeasured: proto.Bool(true)})
}

// quick is call for a request that is answered at once.
func quick[R proto.Message](ctx context.Context, b *Backend, request proto.Message) (R, error) {
	bounded, cancel := context.WithTimeout(ctx, b.opts.Timeout)
	defer cancel()
	r, err := call[R](bounded, b.conns, request)
	if bounded.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: no answer within %v", ErrConnection, b.opts.Timeout)
	}
	return r, err
}

// Close ends the connection and leaves the containers alone. Whoever waits for a process gets ErrClosed, and its output is
// read no more. It returns when all goroutines have ended, but for those that wait for a caller's input or output; when ctx
// ends first, it may be called again.
func (b *Backend) Close(ctx context.Context) error {
	b.fleet.Refuse(ErrClosed)
	b.cancel()
	if err := b.fleet.Wait(ctx); err != nil {
		return fmt.Errorf("close Warden back end: %w", err)
	}
	b.conns.close()
	if err := b.state.close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close Warden back end: %w", err)
	}
	return nil
}
