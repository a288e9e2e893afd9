package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// OOMFile returns the file that the kernel writes to, as inotify(7) tells, when the group may have run out of memory. Only
// version 2 has one.
func (g Group) OOMFile() (string, bool) {
	dir, v2 := g.dir("memory")
	return filepath.Join(dir, "memory.events"), v2
}

// An OOMWatch tells when a group of version 1 may have run out of memory.
type OOMWatch struct{ f *os.File }

// WatchOOM begins to watch a group of version 1, which must exist. It returns nil when there is no memory controller of
// that version. The caller closes the watch.
func (g Group) WatchOOM() (*OOMWatch, error) {
	dir, v2 := g.dir("memory")
	if dir == "" || v2 {
		return nil, nil
	}
	const name = "memory.oom_control"
	f, err := register(dir, name)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", filepath.Join(dir, name), err)
	}
	return &OOMWatch{f}, nil
}

// register asks for an eventfd to be written to.
func register(dir, name string) (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	event := os.NewFile(uintptr(fd), "eventfd")
	control, err := os.Open(filepath.Join(dir, name))
	if err == nil {
		defer control.Close()
		err = write(dir, "cgroup.event_control", fmt.Sprintf("%d %d", fd, control.Fd()))
	}
	if err != nil {
		event.Close()
		return nil, err
	}
	return event, nil
}

// Next returns when something happened, which need not have been that a process was ended, and io.EOF after Close.
func (w *OOMWatch) Next() error {
	buf := make([]byte, 4096)
	_, err := w.f.Read(buf)
	if errors.Is(err, os.ErrClosed) {
		return io.EOF
	}
	return err
}

// Close ends the watch, and a Next that waits.
func (w *OOMWatch) Close() error { return w.f.Close() }
