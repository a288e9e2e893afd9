package staging

import (
	"context"
	"time"
)

// diskPause is the least pause between two looks at the disk; a look that takes long makes it longer.
const diskPause = 250 * time.Millisecond

// watch cancels ctx with ErrOutOfDisk when the container takes more disk than its limit, where nobody else sees to that. The
// channel is closed when it has ended, which it does with ctx.
func (r *run) watch(ctx context.Context, cancel context.CancelCauseFunc) <-chan struct{} {
	ended := make(chan struct{})
	limit := r.build.Info.Limits.DiskBytes
	if !r.watchDisk || limit <= 0 {
		close(ended)
		return ended
	}
	go func() {
		defer close(ended)
		timer := time.NewTimer(diskPause)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			began := time.Now()
			usage, err := r.container.Usage(ctx)
			switch {
			case err != nil && ctx.Err() == nil:
				r.slog.Debug("staging.disk.watch.failed", "error", err) // the step that runs meets the same trouble
			case err == nil && usage.DiskBytes > limit:
				cancel(ErrOutOfDisk)
				return
			}
			timer.Reset(max(diskPause, 5*time.Since(began)))
		}
	}()
	return ended
}
