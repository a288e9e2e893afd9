package process

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// takeOver adopts what a predecessor left in the depot, and ends and removes what cannot be adopted: with fresh, all of
// it. When it fails, nothing was removed or ended that could have been adopted. When ctx ends it fails, but leaves the
// removal of containers that were to be destroyed to the background.
func (b *Backend) takeOver(ctx context.Context, fresh bool) error {
	left, err := b.restoreAll(fresh)
	if err != nil {
		return err
	}
	if err := b.endStrays(ctx); err != nil {
		return err
	}
	for _, name := range left {
		if err := removeTree(b.depot, name); err != nil {
			return err
		}
	}
	var removals []*removal
	for _, c := range b.fleet.All() {
		if r := c.resume(); r != nil {
			removals = append(removals, r)
		}
	}
	for _, r := range removals {
		select {
		case <-r.done: // if it failed, the log knows, and Close tries again
		case <-ctx.Done():
		}
	}
	return nil
}

// depotPrefix begins the markers of all containers of a depot.
func depotPrefix(dir string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", err
	}
	// The name alone could mean a depot in another mount namespace, the inode alone one that was deleted.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", dir, st.Dev, st.Ino))
	return hex.EncodeToString(sum[:8]) + ".", nil
}

// bootNumber stands for the time since the machine started. Where the kernel hides it, it is always the same, and start
// times alone tell processes apart.
func bootNumber() uint64 {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	sum := sha256.Sum256(text)
	return binary.LittleEndian.Uint64(sum[:])
}

// restoreAll restores all containers that can be adopted, and returns the names of what is left.
func (b *Backend) restoreAll(fresh bool) (left []string, err error) {
	entries, err := fs.ReadDir(b.depot.FS(), ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		log := b.log.With("depot", b.depot.Name(), "handle", e.Name())
		if fresh {
			log.Warn("removing a container that an earlier back end left")
			left = append(left, e.Name())
			continue
		}
		c, err := b.restore(e.Name())
		switch {
		case err == nil:
			log.Info("adopting a container that an earlier back end left", "state", c.state, "processes", len(c.clues().running))
			b.fleet.Add(c.handle, c)
			continue
		case errors.Is(err, errBadRecord):
			log.Error("removing a container that cannot be adopted", "error", err)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
			log.Warn("removing a container that an earlier back end had not finished, or begun to remove", "error", err)
		default:
			return nil, fmt.Errorf("adopt container %s: %w", e.Name(), err)
		}
		left = append(left, e.Name())
	}
	return left, nil
}

// endStrays ends the processes that carry a marker of this depot and are of no container that was restored. The markers of
// all processes are looked at, also where the depot is empty: somebody may have removed directories by hand.
func (b *Backend) endStrays(ctx context.Context) error {
	restored := map[string]bool{}
	for _, c := range b.fleet.All() {
		restored[c.marker] = true
	}
	stray := clues{marked: func(marker string) bool { return strings.HasPrefix(marker, b.prefix) && !restored[marker] }}
	var seen []proc
	none := b.kill(ctx, func(s *snapshot) []proc {
		found := living(s.tree(stray))
		if len(found) > 0 && len(seen) == 0 {
			b.log.Warn("ending processes that an earlier back end left", "depot", b.depot.Name(), "processes", len(found))
		}
		seen = found
		return found
	})
	if !none {
		return fmt.Errorf("%w in time: %s", ErrStrays, pids(seen))
	}
	return nil
}

// pids lists some processes for people.
func pids(procs []proc) string {
	var list []string
	for _, p := range procs[:min(len(procs), 10)] {
		list = append(list, strconv.Itoa(p.pid))
	}
	return fmt.Sprintf("%d were seen last, pids %s", len(procs), strings.Join(list, " "))
}

// letGo closes the files of restored containers of which nothing became.
func (b *Backend) letGo() {
	for _, c := range b.fleet.All() {
		c.letGo()
	}
}
