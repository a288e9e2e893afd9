package instance

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/tarball"
)

// smallFile bounds the files of an app that are read as a whole.
const smallFile = 1 << 20

// keepLogs copies the logs of a crashed instance to where the directory server finds them. What an app can write is
// bounded here too: a crash must not fill the disk.
func (l *life) keepLogs() {
	if l.cfg.CrashDir == "" || l.container == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := filepath.Join(l.cfg.CrashDir, l.Status().ID)
	if err := l.copyLogs(ctx, dir); err != nil {
		l.log.Warn("droplet.crash-handler.error", "error", err)
	}
	l.edit(func(s *Status) { s.CrashPath = dir })
}

func (l *life) copyLogs(ctx context.Context, dir string) error {
	logs := filepath.Join(dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	stream, err := l.container.StreamOut(ctx, path.Join(container.AppHome, "logs")+"/")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer stream.Close()
	root, err := os.OpenRoot(logs)
	if err != nil {
		return err
	}
	defer root.Close()
	return tarball.Extract(ctx, root, ".", stream, tarball.ExtractOptions{
		Limits: tarball.Limits{MaxBytes: max(l.message.Limits.Disk<<20, smallFile)},
	})
}
