package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockFile = "data/.installing"
	lockPoll = 20 * time.Millisecond
)

// Lock waits until nobody else, in this process or another, changes the bundles of the base directory, and puts right
// what somebody who was killed left. The caller calls unlock when it is done.
func (s *Store) Lock(ctx context.Context) (unlock func(), err error) {
	if err := s.MkdirAll("data", 0o755); err != nil {
		return nil, err
	}
	f, err := s.root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another installation: %w", context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
	if err := s.Sweep(); err != nil {
		return nil, err
	}
	if err := s.Restore(); err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}
