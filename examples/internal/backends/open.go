package backends

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/garden"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/container/warden"
)

// A Backend is a back end with its ends. Call one of them, once everybody is done with it.
type Backend struct {
	container.Backend
	Choice Choice

	close, leave func(context.Context) error
}

// Close ends all containers and gives the back end up. When it fails it may be called again. Those of a server
// may be of other clients too: they are left, and it is the server that ends what nobody comes back for.
func (b *Backend) Close(ctx context.Context) error { return b.close(ctx) }

// Leave gives the back end up and leaves the containers to the next process. Those of the process back end are left by
// doing nothing: the depot is free when this process has ended.
func (b *Backend) Leave(ctx context.Context) error { return b.leave(ctx) }

// Open opens the back end that was chosen. ctx bounds only the opening.
func Open(ctx context.Context, choice Choice, cfg Config) (*Backend, error) {
	b := &Backend{Choice: choice, leave: func(context.Context) error { return nil }}
	switch choice.Name {
	case Process:
		p, err := process.New(cfg.process())
		if err != nil {
			return nil, err
		}
		b.Backend, b.close = p, p.Close
	case Runc:
		r, err := runc.New(cfg.runc())
		if errors.Is(err, runc.ErrMissing) {
			return nil, fmt.Errorf("%w: the doctor tells more", err)
		}
		if err != nil {
			return nil, err
		}
		b.Backend, b.leave = r, r.Leave
		b.close = func(ctx context.Context) error {
			if err := r.Close(ctx); err != nil {
				return err
			}
			return endNamespace(ctx, cfg)
		}
	case Warden:
		w, err := warden.New(ctx, cfg.warden())
		if err != nil {
			return nil, err
		}
		b.Backend, b.close, b.leave = w, w.Close, w.Close
	case Garden:
		g, err := garden.New(ctx, cfg.garden())
		if err != nil {
			return nil, err
		}
		b.Backend, b.close, b.leave = g, g.Close, g.Close
	default:
		return nil, fmt.Errorf("back end %q is not known: %w", choice.Name, fs.ErrInvalid)
	}
	b.warn(cfg)
	return b, nil
}

// warn tells of containers that nobody looks after, as they are in another back end.
func (b *Backend) warn(cfg Config) {
	if cfg.Logger == nil {
		return
	}
	for _, name := range cfg.kinds() {
		if count := left(cfg.depot(name)); name != b.Choice.Name && count > 0 {
			cfg.Logger.Warn("backend.containers.left", "backend", name, "depot", cfg.depot(name), "containers", count,
				"remedy", "they may still run: to take them up or end them, start with --backend "+name)
		}
	}
}
