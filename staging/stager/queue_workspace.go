package stager

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/rmtree"
)

// workspacePrefix begins the names of the directories of tasks.
const workspacePrefix = "deakit-staging-"

// A workspace is the directory of a task. As long as the task lives it is locked, so that a stager which shares the base
// directory can tell it from one that nobody uses any more.
type workspace struct {
	dir  string
	lock *os.File
}

func makeWorkspace(base string) (*workspace, error) {
	for {
		dir, err := os.MkdirTemp(base, workspacePrefix)
		if err != nil {
			return nil, err
		}
		lock, err := lockDir(dir)
		if err == nil && stands(dir, lock) {
			return &workspace{dir, lock}, nil
		}
		if err == nil {
			lock.Close()
		} else if !errors.Is(err, errLocked) && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, os.Remove(dir))
		}
		// A stager that starts in this moment has taken it for one that was left.
	}
}

// stands tells whether a directory is still where it was opened.
func stands(dir string, f *os.File) bool {
	there, err := os.Lstat(dir)
	if err != nil {
		return false
	}
	held, err := f.Stat()
	return err == nil && os.SameFile(there, held)
}

// file returns a path in the workspace.
func (w *workspace) file(name string) string { return filepath.Join(w.dir, name) }

// remove removes the directory, and gives up the lock in any case.
func (w *workspace) remove() error {
	return errors.Join(rmtree.Path(w.dir), w.lock.Close())
}

// errLocked: somebody works in the directory.
var errLocked = errors.New("the directory is in use")

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// removeLeftWorkspaces makes the base directory if need be, and removes from it what tasks have left whose stager is gone.
func removeLeftWorkspaces(base string, log *slog.Logger) error {
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), workspacePrefix) {
			continue
		}
		dir := filepath.Join(base, e.Name())
		lock, err := lockDir(dir)
		switch {
		case errors.Is(err, errLocked), errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil:
			err = errors.Join(rmtree.Path(dir), lock.Close())
		}
		if err != nil { // it takes room, and is in nobody's way
			log.Warn("stager.workspace.remove.failed", "error", err)
		} else {
			log.Info("stager.workspace.removed", "directory", dir)
		}
	}
	return nil
}
