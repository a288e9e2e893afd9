package buildpack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

var errTooLarge = errors.New("too large")

// watch returns a context that ends when the clone has become too large. stop ends the watching and waits for its end.
func (g *repository) watch(ctx context.Context, dir string) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if treeSize(dir, g.opts.MaxBytes) > g.opts.MaxBytes {
				cancel(fmt.Errorf("%w: it has more than %d bytes", errTooLarge, g.opts.MaxBytes))
			}
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}

// blockBytes is what the least of files takes: a repository can have millions of empty ones.
const blockBytes = 4 << 10

// treeSize adds up what is below dir, as far as it stays while it looks, until that is more than most.
func treeSize(dir string, most int64) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		total += blockBytes
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			total += max(info.Size()-blockBytes, 0)
		}
		if total > most {
			return fs.SkipAll
		}
		return nil
	})
	return total
}

// publish lets everyone read what the owner can, whatever the umask: the container may have a user of its own.
func publish(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() == fs.ModeSymlink {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm()
		if all := mode | mode&0o500>>3 | mode&0o500>>6; all != mode {
			return os.Chmod(name, all)
		}
		return nil
	})
}
