package bundle

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/deakit/deakit/agent/internal/process"
	"github.com/deakit/deakit/internal/atomicfile"
)

// snapshotFile holds what was installed before a package is compiled, for as long as that takes.
const snapshotFile = "data/.before-compile.json"

// A snapshot is the packages that were installed and linked.
type snapshot struct {
	Packages []Bundle
	Links    map[string]string // targets by name, whatever they are
	Others   []string          // names that are no links, which are somebody's
	Mark     string
}

// Snapshot remembers the packages as they are, on disk, for Restore. The mark is in the environment of the processes that
// may change them from now on (process.KillMarked).
func (s *Store) Snapshot(mark string) error {
	packages, err := s.List(Packages)
	if err != nil {
		return err
	}
	now := snapshot{Packages: packages, Links: map[string]string{}, Mark: mark}
	names, err := s.names(string(Packages))
	if err != nil {
		return err
	}
	for _, name := range names {
		if target, err := s.root.Readlink(path.Join(string(Packages), name)); err == nil {
			now.Links[name] = target
		} else {
			now.Others = append(now.Others, name)
		}
	}
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return atomicfile.WriteFileIn(s.root, snapshotFile, data, 0o600)
}

// Restore brings the packages back to the last Snapshot and forgets that. Without one it does nothing. What still runs of
// those who may change them is killed first: it would write through links to packages that are in use. Restore may be
// called again when it failed, or was killed.
func (s *Store) Restore() error {
	data, err := s.root.ReadFile(snapshotFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.restore(data)
	}
	if err != nil {
		return fmt.Errorf("restore packages: %w", err)
	}
	return nil
}

func (s *Store) restore(data []byte) error {
	var then snapshot
	if err := json.Unmarshal(data, &then); err != nil {
		return fmt.Errorf("%s: %w: remove it", snapshotFile, err)
	}
	if then.Mark == "" {
		return fmt.Errorf("%s has no mark: remove it", snapshotFile)
	}
	if err := process.KillMarked(then.Mark); err != nil {
		return err
	}
	if err := s.removeOthers(then.Others); err != nil {
		return err
	}
	linked := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(then.Links)) {
		linked[name] = true
		if err := s.Symlink(path.Join(string(Packages), name), then.Links[name]); err != nil {
			return err
		}
	}
	if err := s.Keep(Packages, linked, then.Packages); err != nil {
		return err
	}
	return s.root.Remove(snapshotFile)
}

// removeOthers removes what a script has put in place of links to packages, and beside them.
func (s *Store) removeOthers(keep []string) error {
	names, err := s.names(string(Packages))
	if err != nil {
		return err
	}
	for _, name := range names {
		link := path.Join(string(Packages), name)
		if _, err := s.root.Readlink(link); err == nil || slices.Contains(keep, name) {
			continue
		}
		aside := path.Join(string(Packages), asidePrefix+rand.Text())
		if err := s.root.Rename(link, aside); err != nil {
			return err
		}
		if err := s.Discard(aside); err != nil {
			return err
		}
	}
	return nil
}

// Keep removes the links of a kind but those of the given names, and then the bundles but the given ones.
func (s *Store) Keep(kind Kind, links map[string]bool, bundles []Bundle) error {
	if err := s.KeepLinks(string(kind), links); err != nil {
		return err
	}
	all, err := s.List(kind)
	if err != nil {
		return err
	}
	for _, b := range all {
		if slices.Contains(bundles, b) {
			continue
		}
		if err := s.Uninstall(b); err != nil {
			return err
		}
	}
	return s.removeEmpty(kind)
}
