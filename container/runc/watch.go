package runc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// fileWatch tells when files are written to: those in which supervisors write down the ends of processes, and those in
// which the kernel counts shortages of memory. One inotify instance is enough for all containers, as there may be few.
type fileWatch struct {
	inotify *os.File
	log     *slog.Logger

	mu    sync.Mutex
	calls map[int32]func() // by watch
}

func newFileWatch(log *slog.Logger) (*fileWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch files: %w (is fs.inotify.max_user_instances too low?)", err)
	}
	return &fileWatch{inotify: os.NewFile(uintptr(fd), "inotify"), log: log, calls: map[int32]func(){}}, nil
}

// add calls f, which must not block, after each change of a file from now on. It returns what remove takes, never 0.
func (w *fileWatch) add(path string, f func()) (watch int32, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err = w.control(func(fd int) error {
		n, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY)
		watch = int32(n)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w (is fs.inotify.max_user_watches too low?)", path, err)
	}
	w.calls[watch] = f
	return watch, nil
}

// remove ends a watch; 0 stands for none.
func (w *fileWatch) remove(watch int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls[watch] == nil {
		return
	}
	delete(w.calls, watch)
	_ = w.control(func(fd int) error { // it ends with the file at the latest
		_, err := unix.InotifyRmWatch(fd, uint32(watch))
		return err
	})
}

func (w *fileWatch) control(f func(fd int) error) error {
	raw, err := w.inotify.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// run tells until close is called.
func (w *fileWatch) run() {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.inotify.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			w.log.Error("the ends of processes are no longer noticed", "error", err)
			return
		}
		for _, f := range w.callsFor(buf[:n]) {
			f()
		}
	}
}

// callsFor returns what to call after events: all if events were lost.
func (w *fileWatch) callsFor(events []byte) []func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[int32]func(){}
	for len(events) >= unix.SizeofInotifyEvent {
		watch := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		length := binary.NativeEndian.Uint32(events[12:])
		events = events[min(unix.SizeofInotifyEvent+int(length), len(events)):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			return slices.Collect(maps.Values(w.calls))
		}
		if f := w.calls[watch]; f != nil {
			found[watch] = f
		}
	}
	return slices.Collect(maps.Values(found))
}

func (w *fileWatch) close() { w.inotify.Close() }
