package dea

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/messaging"
)

// reapDroplets removes droplets that nobody uses.
func (d *DEA) reapDroplets() {
	ctx, cancel := context.WithTimeout(d.life, time.Minute)
	defer cancel()
	if _, err := d.parts.Droplets.Evict(ctx); err != nil {
		d.log.Warn("dea.droplets.reap.failed", "error", err)
	}
}

// crash is a crashed instance that is still remembered.
type crash struct {
	*instance.Instance
	since time.Time
	path  string
}

// reapCrashes forgets crashes that are old, that a newer one of the same app replaces, or for which the disk has no
// room; and removes what no instance owns.
func (d *DEA) reapCrashes(now time.Time) {
	var crashes []crash
	for _, i := range d.registry.All() {
		if s := i.Status(); s.State == messaging.Crashed {
			crashes = append(crashes, crash{i, s.Since, s.CrashPath})
		}
	}
	slices.SortFunc(crashes, func(a, b crash) int { return b.since.Compare(a.since) }) // newest first
	seen, kept := map[string]bool{}, crashes[:0:0]
	for _, c := range crashes {
		if seen[c.App()] || now.Sub(c.since) > d.cfg.CrashLifetime {
			d.forget(c)
			continue
		}
		seen[c.App()] = true
		kept = append(kept, c)
	}
	for len(kept) > 0 && d.diskIsFull() {
		d.forget(kept[len(kept)-1])
		kept = kept[:len(kept)-1]
	}
	d.removeOrphanedCrashes()
}

func (d *DEA) forget(c crash) {
	d.log.Debug("dea.crash.removed", "app", c.App(), "index", c.Index())
	if c.path != "" {
		if err := rmtree.Path(c.path); err != nil {
			d.log.Warn("dea.crash.remove.failed", "error", err)
		}
	}
	d.tell(c.Instance, applog.Stdout, applog.RemovingCrash(c.App()))
	d.registry.Remove(c.Instance)
	c.Release()
	d.snapshotDue = true
}

// diskIsFull looks at the file system of the crashes. One that cannot be looked at is not full.
func (d *DEA) diskIsFull() bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.cfg.Instance.CrashDir, &fs); err != nil {
		return false
	}
	return fullerThan(d.cfg.CrashDiskUsage, fs.Blocks, fs.Bfree) || fullerThan(d.cfg.CrashInodeUsage, fs.Files, fs.Ffree)
}

func fullerThan(limit float64, all, free uint64) bool {
	return all > 0 && float64(all-free)/float64(all) > limit
}

func (d *DEA) removeOrphanedCrashes() {
	entries, err := os.ReadDir(d.cfg.Instance.CrashDir)
	if err != nil {
		d.log.Warn("dea.crash.list.failed", "error", err)
		return
	}
	owned := map[string]bool{}
	for _, i := range d.registry.All() {
		s := i.Status()
		owned[s.ID], owned[filepath.Base(s.CrashPath)] = true, true
	}
	for _, entry := range entries {
		if !owned[entry.Name()] {
			if err := rmtree.Path(filepath.Join(d.cfg.Instance.CrashDir, entry.Name())); err != nil {
				d.log.Warn("dea.crash.remove.failed", "error", err)
			}
		}
	}
}
