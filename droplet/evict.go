package droplet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// Usage is what a [Store] holds.
type Usage struct {
	Droplets int   // on disk
	InUse    int   // of them, those that a Ref holds
	Bytes    int64 // of all droplets on disk
}

// Usage measures the store. Downloads on their way are not counted.
func (s *Store) Usage() (Usage, error) {
	var u Usage
	done, err := s.shelf.Begin()
	if err != nil {
		return u, err
	}
	defer done()
	names, err := s.shelf.Names()
	if err != nil {
		return u, fmt.Errorf("measure droplet store: %w", err)
	}
	for _, name := range names {
		if !digestPattern.MatchString(name) {
			continue
		}
		info, err := s.root.Lstat(path.Join(name, fileName))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return u, fmt.Errorf("measure droplet store: %w", err)
		}
		u.Droplets++
		u.Bytes += info.Size()
		if s.shelf.Held(name) {
			u.InUse++
		}
	}
	return u, nil
}

// Evict removes the droplets that no Ref holds and that were last used StoreOptions.KeepFor ago or earlier, and returns
// how many it removed. A directory is renamed out of the way first, so that a start that comes meanwhile finds a
// droplet or none, and never half of one; what an interruption leaves under such a name, the next NewStore removes.
func (s *Store) Evict(ctx context.Context) (removed int, err error) {
	done, err := s.shelf.Begin()
	if err != nil {
		return 0, err
	}
	defer done()
	select {
	case s.evicting <- struct{}{}:
		defer func() { <-s.evicting }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	names, err := s.shelf.Names()
	if err != nil {
		return 0, fmt.Errorf("evict droplets: %w", err)
	}
	var failed []error
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if !digestPattern.MatchString(name) {
			continue
		}
		gone, err := s.retire(name)
		if err == nil && gone != "" {
			removed++
			err = s.root.RemoveAll(gone)
		}
		if err != nil {
			s.log.Warn("droplet cannot be removed", "sha1", name, "error", err)
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return removed, fmt.Errorf("evict droplets: %w", err)
	}
	return removed, nil
}

// retire renames the directory of a droplet that is not in use and returns its new name, or "" if it is to stay.
func (s *Store) retire(sha1 string) (string, error) {
	now := time.Now()
	gone := fmt.Sprintf("%s.deleted.%d", sha1, now.Unix())
	if err := s.root.RemoveAll(gone); err != nil { // left by an attempt in the same second
		return "", err
	}
	retired, err := s.shelf.Retire(sha1, gone, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		lastUse := s.started
		if k, ok := s.known[sha1]; ok {
			lastUse = k.lastUse
		}
		if now.Sub(lastUse) < s.opts.KeepFor {
			return true
		}
		delete(s.known, sha1)
		return false
	})
	if !retired {
		return "", err
	}
	return gone, nil
}
