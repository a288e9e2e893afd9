package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the file that makes a directory a depot. Containers cannot have this name.
const lockName = ".deakit-depot"

// openDepot opens and locks a depot, and makes it if need be.
func openDepot(dir string) (_ *os.Root, lock *os.File, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == lockName }) {
		return nil, nil, fmt.Errorf("it holds %q: %w", entries[0].Name(), ErrNotDepot)
	}
	lock, err = os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err = takeLock(lock); err != nil {
		return nil, nil, err
	}
	depot, err := os.OpenRoot(dir)
	return depot, lock, err
}

// lockPatience is how long a lock may outlive the one who had it: a child that it was about to start when it was killed
// has the lock until it executes its program.
const lockPatience = time.Second

func takeLock(lock *os.File) error {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(deadline) {
			return ErrDepotInUse
		}
	}
}
