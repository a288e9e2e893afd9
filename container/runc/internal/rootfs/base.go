package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/deakit/deakit/internal/rmtree"
)

// Bases finds the directories that stand for bases, and keeps what was unpacked of tarballs below a directory of its own.
type Bases struct {
	dir string

	mu       sync.Mutex
	unpacked map[string]*unpacking // by key
}

type unpacking struct {
	done   chan struct{}
	err    error // valid, as gaveUp, after done is closed
	gaveUp bool  // because its caller did: others who wait for it have to do it themselves
}

// NewBases returns the bases that are kept in dir. It does nothing.
func NewBases(dir string) *Bases { return &Bases{dir: dir, unpacked: map[string]*unpacking{}} }

// Resolve returns the directory of a base: its path itself if that is a directory, else that of the unpacked tarball. Of
// several calls for one tarball one unpacks it. The program tar does, so that owners and special modes are kept: a
// tarball is trusted, as every base is.
func (b *Bases) Resolve(ctx context.Context, path string) (string, error) {
	dir, err := b.resolve(ctx, path)
	if err != nil {
		return "", fmt.Errorf("root file system %s: %w", path, err)
	}
	return dir, nil
}

func (b *Bases) resolve(ctx context.Context, path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return path, err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("it is neither a directory nor a tarball")
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", path, info.Size(), info.ModTime().UnixNano()))
	key := hex.EncodeToString(sum[:12])

	b.mu.Lock()
	u, begun := b.unpacked[key]
	if !begun {
		u = &unpacking{done: make(chan struct{})}
		b.unpacked[key] = u
	}
	b.mu.Unlock()
	if begun {
		select {
		case <-u.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if u.gaveUp {
			return b.resolve(ctx, path)
		}
		return filepath.Join(b.dir, key), u.err
	}
	u.err = b.unpack(ctx, path, filepath.Join(b.dir, key))
	if u.err != nil {
		u.gaveUp = ctx.Err() != nil
		b.mu.Lock()
		delete(b.unpacked, key) // the next one tries again
		b.mu.Unlock()
	}
	close(u.done)
	return filepath.Join(b.dir, key), u.err
}

// unpack unpacks a tarball, unless an earlier back end has.
func (b *Bases) unpack(ctx context.Context, tarball, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	part := dir + ".part"
	if err := rmtree.Path(part); err != nil {
		return err
	}
	// Nobody else gets in: programs that take the rights of their owner are for containers, which do not grant them.
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(part, 0o755); err != nil {
		return err
	}
	// What tar makes of devices would be real ones.
	cmd := exec.CommandContext(ctx, "tar", "--extract", "--preserve-permissions", "--numeric-owner", "--same-owner",
		"--exclude=./dev/*", "--exclude=dev/*", "--directory="+part, "--file="+tarball)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("unpack it: %w: %.500s", err, strings.TrimSpace(stderr.String()))
	}
	return os.Rename(part, dir)
}
