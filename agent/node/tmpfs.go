package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/internal/atomicfile"
)

// A tmpfs is a directory whose files are in memory.
type tmpfs struct {
	dir   string
	size  string // as mount takes it: 16m, 10%
	mode  fs.FileMode
	group int
}

var tmpfsSize = regexp.MustCompile(`^[0-9]+[kKmMgG%]?$`)

// mountTmpfs mounts one. Where something is mounted already it stays.
func (m *machine) mountTmpfs(ctx context.Context, t tmpfs) error {
	if !tmpfsSize.MatchString(t.size) {
		return fmt.Errorf("size %q of the tmpfs %s: say a number with k, m, g or %%", t.size, t.dir)
	}
	if err := os.MkdirAll(t.dir, t.mode); err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(t.dir) // as the kernel calls it
	if err != nil {
		return err
	}
	mounts, err := m.cfg.Disks.Mounts(ctx)
	if err != nil || slices.ContainsFunc(mounts, func(mount disk.Mount) bool { return mount.Dir == dir }) {
		return err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		m.log.Warn("agent.tmpfs.hides", "dir", dir, "files", len(entries)) // of a time when it was none
	}
	return m.cfg.Disks.Mount(ctx, "tmpfs", dir, "tmpfs", []string{
		"size=" + t.size, fmt.Sprintf("mode=%04o", t.mode.Perm()), fmt.Sprintf("gid=%d", t.group),
	})
}

// The marks of a start. When the machine comes up again, only the one on its disk is left.
func (m *machine) startMarks() (inMemory, onDisk string) {
	dir := filepath.Join(m.cfg.Base, "bosh")
	return filepath.Join(dir, "canrestart", "bootonce"), filepath.Join(dir, "bootonce")
}

// onceOnly tells whether the machine has in memory what it cannot do without.
func (m *machine) onceOnly() bool {
	bosh := &m.current.Load().Env.Bosh
	return bosh.Agent.Settings.Tmpfs || bosh.JobDir.Tmpfs
}

// mountMemory mounts what the settings want in memory, in the order of the Go agent, but for the settings themselves.
func (m *machine) mountMemory(ctx context.Context) error {
	if !m.cfg.Tmpfs {
		if m.onceOnly() {
			m.log.Warn("agent.tmpfs.ignored") // settings, or jobs, are on disk
		}
		return nil
	}
	if m.onceOnly() {
		inMemory, onDisk := m.startMarks()
		if err := m.mountTmpfs(ctx, tmpfs{filepath.Dir(inMemory), "16m", 0o740, m.group}); err != nil {
			return err
		}
		if exists(onDisk) && !exists(inMemory) {
			return ErrRebooted
		}
	}
	bosh := &m.current.Load().Env.Bosh
	data := filepath.Join(m.cfg.Base, "data")
	all := []tmpfs{{filepath.Join(data, "sys", "run"), cmp.Or(bosh.RunDir.TmpfsSize, "16m"), 0o750, m.group}}
	if bosh.JobDir.Tmpfs {
		size := cmp.Or(bosh.JobDir.TmpfsSize, "100m")
		all = append(all, tmpfs{filepath.Join(data, "jobs"), size, 0o750, m.group}, tmpfs{filepath.Join(data, "sensitive_blobs"), size, 0o700, m.group})
	}
	for _, t := range all {
		if err := m.mountTmpfs(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// noteStart makes the marks, where they are missing. Who is killed between them has not come up.
func (m *machine) noteStart(context.Context) error {
	if !m.cfg.Tmpfs || !m.onceOnly() {
		return nil
	}
	inMemory, onDisk := m.startMarks()
	if err := atomicfile.UpdateFile(inMemory, nil, 0o600); err != nil {
		return err
	}
	return atomicfile.UpdateFile(onDisk, nil, 0o600)
}

// exists tells whether there is anything by that name.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
