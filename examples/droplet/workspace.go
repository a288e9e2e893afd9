package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/internal/rmtree"
)

const (
	workPrefix = "deakit-droplet-"
	workLock   = "lock" // held for as long as the program works in the directory
)

// closeTime bounds how long it may take to end containers when all is over.
const closeTime = time.Minute

// A workspace is a directory for the life of the program: containers, and what is unpacked for them.
type workspace struct {
	dir  string
	lock *os.File
}

// newWorkspace makes one, and first removes those of programs that were killed, with what still runs there.
func newWorkspace(e *env) (*workspace, error) {
	sweep(e)
	for range 10 {
		w, err := makeWorkspace()
		if err != nil || w != nil {
			return w, err
		}
	}
	return nil, fmt.Errorf("make a directory in %s: others remove it at once", os.TempDir())
}

// makeWorkspace returns nil when a sweep of another program took the directory before it was locked.
func makeWorkspace() (*workspace, error) {
	dir, err := os.MkdirTemp("", workPrefix)
	if err != nil {
		return nil, err
	}
	// Containers have users of their own, who see their files below it. The others in it are for this user alone.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	lock, err := os.OpenFile(filepath.Join(dir, workLock), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, nil
	}
	if _, err := os.Lstat(lock.Name()); err != nil {
		lock.Close()
		return nil, nil
	}
	return &workspace{dir: dir, lock: lock}, nil
}

func (w *workspace) path(name string) string { return filepath.Join(w.dir, name) }

// remove ends the workspace. The lock is held to the end, so that no sweep comes between.
func (w *workspace) remove() error {
	err := rmtree.Path(w.dir)
	return errors.Join(err, w.lock.Close())
}

// config is what back ends of this workspace have in common.
func (w *workspace) config(e *env) backends.Config {
	return backends.Config{Depot: w.path("containers"), Fresh: true, Hide: []string{w.dir}, Logger: e.log}
}

// open opens a back end in the workspace.
func (w *workspace) open(e *env, name string, ports process.PortRange) (*backends.Backend, error) {
	cfg := w.config(e)
	cfg.Ports = ports
	choice, err := backends.Choose(e.ctx, name, cfg)
	if err != nil {
		return nil, err
	}
	e.screen.line("%s", confinement(choice))
	return backends.Open(e.ctx, choice, cfg)
}

// confinement tells people what programs run in.
func confinement(choice backends.Choice) string {
	text := fmt.Sprintf("Back end: %s.", choice)
	if choice.Name == backends.Process {
		text += " It confines nothing: programs may do all that you may."
	}
	return text
}

// closeBackend ends all containers, whatever has become of the context.
func closeBackend(e *env, b *backends.Backend) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), closeTime)
	defer cancel()
	return b.Close(ctx)
}

// sweep removes what programs left that were killed. What it cannot remove stays for the next time.
func sweep(e *env) {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), workPrefix+"*"))
	if err != nil {
		e.log.Warn("workspace.sweep.failed", "error", err)
	}
	for _, dir := range dirs {
		if err := sweepOne(e, dir); err != nil {
			e.log.Warn("workspace.sweep.failed", "dir", dir, "error", err)
		}
	}
}

func sweepOne(e *env, dir string) error {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return nil // somebody else removed it, or put a link there
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
		return nil
	}
	lock, err := os.OpenFile(filepath.Join(dir, workLock), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // just being made, or removed
	}
	if err != nil {
		return err
	}
	w := &workspace{dir: dir, lock: lock}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil // in use
	}
	cfg := w.config(e)
	for _, name := range []string{backends.Process, backends.Runc} {
		if err := endContainers(e, name, cfg); err != nil {
			lock.Close()
			return err
		}
	}
	return w.remove()
}

// endContainers ends the containers of a back end that was in use, of a program that was killed.
func endContainers(e *env, name string, cfg backends.Config) error {
	depot := cfg.Depot
	if name != backends.Process {
		depot += "-" + name
	}
	if _, err := os.Stat(depot); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	b, err := backends.Open(e.ctx, backends.Choice{Name: name, Why: "a program that was killed used it"}, cfg)
	if err != nil {
		return err
	}
	return closeBackend(e, b)
}
