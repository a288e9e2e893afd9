package instance

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
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

// readFile reads one small regular file of a container. It returns fs.ErrNotExist when there is none.
func readFile(ctx context.Context, c container.Container, p string) ([]byte, error) {
	stream, err := c.StreamOut(ctx, p)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	members := tar.NewReader(stream)
	header, err := members.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: %w", p, fs.ErrNotExist)
	case err != nil:
		return nil, err
	case header.Typeflag != tar.TypeReg:
		return nil, fmt.Errorf("%s is not a regular file", p)
	case header.Size > smallFile:
		return nil, fmt.Errorf("%s has %d bytes, more than %d", p, header.Size, smallFile)
	}
	return io.ReadAll(members)
}

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
