package dea

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/internal/atomicfile"
)

// resumeTimeout bounds the look for the containers of all instances: nobody hears of the DEA before it is over.
const resumeTimeout = time.Minute

func (d *DEA) snapshotPath() string { return filepath.Join(d.cfg.BaseDir, "db", "instances.json") }

// resume takes up the instances that an earlier process left. A file that is no snapshot is kept under another name and
// does not keep the DEA from working; what its containers are is unknown then, so none of them is destroyed as an orphan.
func (d *DEA) resume() error {
	path := d.snapshotPath()
	d.removeUnfinished(filepath.Dir(path))
	snapshot, broken, err := instance.ReadSnapshot(path)
	var unreadable *instance.SnapshotError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, &unreadable):
		broken = append(broken, err)
	case err != nil:
		return fmt.Errorf("read snapshot: %w", err)
	}
	records := slices.DeleteFunc(snapshot.Instances, func(r instance.Record) bool {
		err := r.Check()
		if err != nil {
			broken = append(broken, err)
		}
		return err != nil
	})
	if len(broken) > 0 {
		if err := d.setAside(path, broken); err != nil {
			return err
		}
	}
	d.resumeAll(records)
	d.log.Info("dea.snapshot.loaded", "instances", len(records), "broken", len(broken))
	return nil
}

// removeUnfinished removes the snapshots that an earlier process was killed over.
func (d *DEA) removeUnfinished(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		d.log.Warn("dea.snapshot.clean.failed", "error", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), atomicfile.TempPrefix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
			d.log.Warn("dea.snapshot.clean.failed", "error", err)
		}
	}
}

// resumeAll looks for all containers at once, and registers the instances in the order of their records. It goes on when
// the DEA is told to end meanwhile: only what was found can be stopped.
func (d *DEA) resumeAll(records []instance.Record) {
	ctx, cancel := context.WithTimeout(d.life, resumeTimeout)
	defer cancel()
	found := make([]*instance.Instance, len(records))
	var group errgroup.Group
	group.SetLimit(16)
	for n, record := range records {
		group.Go(func() (err error) {
			if found[n], err = instance.Resume(ctx, record, d.cfg.Instance, d.instanceParts()); err != nil {
				d.log.Error("dea.snapshot.refused", "error", err)
			}
			return nil // one record says nothing of the others
		})
	}
	_ = group.Wait()
	for _, i := range found {
		if i != nil {
			d.registry.Add(i)
			d.running.Go(func() { i.Run(d.life) })
		}
	}
}

// setAside keeps a snapshot that was not understood, wholly or in part, before it is written anew.
func (d *DEA) setAside(path string, problems []error) error {
	aside := fmt.Sprintf("%s.unreadable-%s", path, time.Now().UTC().Format("20060102T150405.000000000"))
	if err := os.Link(path, aside); err != nil {
		return fmt.Errorf("set aside a snapshot that cannot be read (%w): %w", errors.Join(problems...), err)
	}
	d.keepOrphans = true
	for _, problem := range problems {
		d.log.Error("dea.snapshot.unreadable", "error", problem, "kept_as", aside)
	}
	return nil
}
