package process

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil, ErrDepotInUse
	}
	if err != nil {
		return nil, nil, err
	}
	depot, err := os.OpenRoot(dir)
	return depot, lock, err
}

// takeOver ends and removes what a predecessor left in the depot.
func (b *Backend) takeOver() error {
	dir := b.depot.Name()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	// The name alone could mean a depot in another mount namespace, the inode alone one that was deleted.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", dir, st.Dev, st.Ino))
	b.prefix = hex.EncodeToString(sum[:8]) + "."

	left := func(s *snapshot) []proc {
		return s.tree(clues{marked: func(marker string) bool { return strings.HasPrefix(marker, b.prefix) }})
	}
	s, err := takeSnapshot()
	if err != nil {
		return err
	}
	found := len(living(left(s)))
	s.close()
	if found > 0 {
		b.log.Warn("ending processes that an earlier back end left", "depot", dir, "processes", found)
		kill(left, b.log)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		b.log.Warn("removing a container that an earlier back end left", "depot", dir, "handle", e.Name())
		if err := removeTree(b.depot, e.Name()); err != nil {
			return err
		}
	}
	return nil
}
