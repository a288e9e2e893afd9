package runc

import (
	"context"
	"errors"
	"fmt"

	"github.com/deakit/deakit/internal/containerkit"
)

// Close destroys all containers, removes what the back end set up on the machine, and gives the depot free. It returns
// when all goroutines have ended, but for those that wait for a caller's input; when ctx ends first, or a container cannot
// be removed, Close may be called again. Create fails with ErrClosed from the first call on. Once it succeeded, a further
// Close does nothing.
func (b *Backend) Close(ctx context.Context) error {
	b.closing.Lock()
	defer b.closing.Unlock()
	if b.free {
		return nil
	}
	if err := b.close(ctx); err != nil {
		return fmt.Errorf("close runc back end: %w", err)
	}
	return nil
}

func (b *Backend) close(ctx context.Context) error {
	if err := b.refuse(ctx); err != nil {
		return err
	}
	removals := map[*box]*removal{}
	for _, c := range b.fleet.All() {
		removals[c], _ = c.destroy()
	}
	var errs []error
	for c, r := range removals {
		errs = append(errs, c.await(ctx, r))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if b.net != nil {
		if err := b.net.Close(); err != nil {
			return err
		}
	}
	if err := b.groups.Group(b.groupPath("")).Remove(ctx); err != nil {
		return err
	}
	b.rest()
	if err := containerkit.AwaitAll(ctx, &b.work); err != nil {
		return err
	}
	b.free = true
	return b.depot.close()
}

// Leave lets go of the containers, which live on, and gives the depot free: for a program that ends and will be started
// again. Streams that were being copied end. It returns when all goroutines have ended, but for those that wait for a
// caller's input; when ctx ends first, Leave may be called again. What is being stopped or destroyed at the moment, New goes
// on with. Once it succeeded, a further Leave or Close does nothing.
func (b *Backend) Leave(ctx context.Context) error {
	b.closing.Lock()
	defer b.closing.Unlock()
	if b.free {
		return nil
	}
	if err := b.refuse(ctx); err != nil {
		return fmt.Errorf("leave runc back end: %w", err)
	}
	for _, c := range b.fleet.All() {
		c.letGo()
	}
	b.rest()
	if err := containerkit.AwaitAll(ctx, &b.work); err != nil {
		return fmt.Errorf("leave runc back end: %w", err)
	}
	b.free = true
	return b.depot.close()
}

// refuse lets Create fail from now on, and waits for those that are at work.
func (b *Backend) refuse(ctx context.Context) error {
	b.fleet.Refuse(ErrClosed)
	return b.fleet.Wait(ctx)
}

// letGo undoes what New did, when it fails; the containers live on.
func (b *Backend) letGo() {
	for _, c := range b.fleet.All() {
		c.letGo()
	}
	if b.files != nil {
		b.rest()
	}
	b.work.Wait()
}

// rest ends the goroutines that are not of one container. It may be called again.
func (b *Backend) rest() {
	b.files.close()
	b.shift.Close()
	select {
	case <-b.ended:
	default:
		close(b.ended)
	}
}
