package dea

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet/instance"
)

// orphans is the look for containers that bear this DEA's mark and belong to no instance. The loop owns it.
type orphans struct {
	suspects map[string]bool // handles that the last look found
	looking  bool
}

// reapOrphans begins a look, unless one is under way. What two looks in a row find is destroyed: an instance may be
// about to tell its container.
func (d *DEA) reapOrphans() {
	if d.orphans.looking {
		return
	}
	d.orphans.looking = true
	suspects := d.orphans.suspects
	d.running.Go(func() {
		ctx, cancel := context.WithTimeout(d.life, time.Minute)
		defer cancel()
		found, err := d.lookForOrphans(ctx, suspects)
		if err != nil && ctx.Err() == nil {
			d.log.Warn("dea.orphans.failed", "error", err)
		}
		d.queue.Put(func() { d.orphans = orphans{suspects: found} })
	})
}

// lookForOrphans destroys the orphans among the suspects, and returns those that are suspect now.
func (d *DEA) lookForOrphans(ctx context.Context, suspects map[string]bool) (map[string]bool, error) {
	handles, err := d.parts.Backend.List(ctx)
	if err != nil {
		return suspects, err
	}
	var errs []error
	found := map[string]bool{}
	for _, handle := range handles {
		c, err := d.orphan(ctx, handle)
		switch {
		case err != nil:
			errs = append(errs, err)
		case c == nil:
		case !suspects[handle]:
			found[handle] = true
		default:
			d.log.Warn("dea.orphan.destroying", "handle", handle)
			if err := c.Destroy(ctx); err != nil && !errors.Is(err, container.ErrNotFound) {
				errs = append(errs, err)
				found[handle] = true
			}
		}
	}
	if d.keepOrphans && len(found) > 0 {
		d.log.Error("dea.orphans.kept", "handles", slices.Sorted(maps.Keys(found)),
			"remedy", "the snapshot could not be read; restart the DEA to have them destroyed")
		return nil, errors.Join(errs...) // forever suspect for the first time
	}
	return found, errors.Join(errs...)
}

// orphan returns the container of a handle if it bears our mark and no instance knows it, else nil.
func (d *DEA) orphan(ctx context.Context, handle string) (container.Container, error) {
	if d.knows(handle) {
		return nil, nil
	}
	c, err := d.parts.Backend.Lookup(ctx, handle)
	if errors.Is(err, container.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := c.Info(ctx)
	switch {
	case errors.Is(err, container.ErrNotFound), err == nil && info.Properties[instance.OwnerProperty] != d.cfg.Instance.Owner:
		return nil, nil
	case err != nil:
		return nil, err
	case d.knows(handle): // by now
		return nil, nil
	}
	return c, nil
}

func (d *DEA) knows(handle string) bool {
	return slices.ContainsFunc(d.registry.All(), func(i *instance.Instance) bool { return i.Status().Handle == handle })
}
