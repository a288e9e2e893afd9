package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// An OOMWatch tells when the group may have run out of memory.
type OOMWatch struct{ f *os.File }

// WatchOOM begins to watch the group, which must exist. It returns nil when there is no memory controller. The caller
// closes the watch.
func (g Group) WatchOOM() (*OOMWatch, error) {
	dir, v2 := g.dir("memory")
	if dir == "" {
		return nil, nil
	}
	watch, name := watch1, "memory.oom_control"
	if v2 {
		watch, name = watch2, "memory.events"
	}
	f, err := watch(dir, name)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", filepath.Join(dir, name), err)
	}
	return &OOMWatch{f}, nil
}

// watch1 asks for an eventfd to be written to.
func watch1(dir, name string) (*os.File, error) {
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

func watch2(dir, name string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, filepath.Join(dir, name), unix.IN_MODIFY); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
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
