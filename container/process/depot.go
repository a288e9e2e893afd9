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

// openDepot opens and locks a depot, and makes it if need be. One that was made has never had a container.
func openDepot(dir string) (_ *os.Root, lock *os.File, made bool, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, false, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, false, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, nil, false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, false, err
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == lockName }) {
		return nil, nil, false, fmt.Errorf("it holds %q: %w", entries[0].Name(), ErrNotDepot)
	}
	lock, made, err = openLock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, nil, false, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err = takeLock(lock); err != nil {
		return nil, nil, false, err
	}
	depot, err := os.OpenRoot(dir)
	return depot, lock, made, err
}

// openLock opens the lock of a depot, and tells whether it had to be made.
func openLock(name string) (lock *os.File, made bool, err error) {
	const flags = os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW
	lock, err = os.OpenFile(name, flags|os.O_EXCL, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return lock, true, err
	}
	lock, err = os.OpenFile(name, flags, 0o600)
	return lock, false, err
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
