package compile

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/tarball"
)

// pack makes an archive of what was installed, plain if the source was. The same files give the same archive. It stands
// where all is removed in the end.
func (w *work) pack(ctx context.Context, plain bool) (_ *os.File, err error) {
	f, err := w.open(path.Join(compileDir, ".compiled"))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	limits := tarball.Limits{MaxBytes: w.cfg.MaxBytes, MaxMembers: w.cfg.MaxMembers}
	skipped := func(name string) { w.log.Warn("compile.skipped", "package", w.name, "file", name) }
	if plain {
		err = tarball.Write(ctx, f, w.store.Root(), w.target().Path()+"/", tarball.Options{Limits: limits, Skipped: skipped})
	} else {
		_, err = droplet.Pack(ctx, f, w.store.Root(), w.target().Path(), droplet.PackOptions{Limits: droplet.Limits(limits), Skipped: skipped})
	}
	if err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

// checkSpace refuses to compile where it would fail for want of room (bosh_agent).
func (w *work) checkSpace() error {
	if w.cfg.MaxUsed < 0 {
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Join(w.cfg.Base, compileDir), &fs); err != nil {
		return fmt.Errorf("look for disk space: %w", err)
	}
	if used := usedPercent(fs.Blocks, fs.Bfree, fs.Bavail); used >= w.cfg.MaxUsed {
		return fmt.Errorf("Compile Package Failure. Greater than %d%% is used (%d%%).", w.cfg.MaxUsed, used)
	}
	return nil
}

// usedPercent is what df says: of the blocks that others than root may have, rounded up.
func usedPercent(blocks, free, available uint64) int {
	used := blocks - free
	total := used + available
	if total == 0 {
		return 0
	}
	return int((used*100 + total - 1) / total)
}
