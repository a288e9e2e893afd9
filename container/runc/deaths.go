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

// deathWatch tells containers when their supervisors wrote to their status files.
type deathWatch struct {
	inotify *os.File
	log     *slog.Logger

	mu    sync.Mutex
	boxes map[int32]*box // by watch
}

func newDeathWatch(log *slog.Logger) (*deathWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch status files: %w (is fs.inotify.max_user_instances too low?)", err)
	}
	return &deathWatch{inotify: os.NewFile(uintptr(fd), "inotify"), log: log, boxes: map[int32]*box{}}, nil
}

// add begins to watch for a container. What was written before is not told.
func (w *deathWatch) add(c *box) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control(func(fd int) error {
		watch, err := unix.InotifyAddWatch(fd, c.path(statusName), unix.IN_MODIFY)
		if err != nil {
			return fmt.Errorf("watch the status file: %w (is fs.inotify.max_user_watches too low?)", err)
		}
		w.boxes[int32(watch)] = c
		c.watch = watch
		return nil
	})
}

func (w *deathWatch) remove(c *box) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.boxes[int32(c.watch)] != c {
		return
	}
	delete(w.boxes, int32(c.watch))
	_ = w.control(func(fd int) error { // it ends with the file at the latest
		_, err := unix.InotifyRmWatch(fd, uint32(c.watch))
		return err
	})
}

func (w *deathWatch) control(f func(fd int) error) error {
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
func (w *deathWatch) run() {
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
		for c := range maps.Keys(w.named(buf[:n])) {
			c.collect(false)
		}
	}
}

// named returns the containers that events are of; all if events were lost.
func (w *deathWatch) named(events []byte) map[*box]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[*box]bool{}
	for len(events) >= unix.SizeofInotifyEvent {
		watch := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		length := binary.NativeEndian.Uint32(events[12:])
		events = events[min(unix.SizeofInotifyEvent+int(length), len(events)):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for c := range maps.Values(w.boxes) {
				found[c] = true
			}
		} else if c := w.boxes[watch]; c != nil {
			found[c] = true
		}
	}
	return found
}

func (w *deathWatch) close() { w.inotify.Close() }

// collect notes the ends of processes that the supervisor wrote down. When the supervisor has ended too, which is last,
// all others have ended with it: the kernel killed them.
func (c *box) collect(all bool) {
	c.mu.Lock()
	running := slices.DeleteFunc(slices.Collect(maps.Values(c.procs)), func(p *process) bool { return p.gone })
	c.mu.Unlock()
	for _, p := range running {
		st, err := c.status.Read(p.id)
		if err != nil && !errors.Is(err, os.ErrClosed) {
			c.b.log.Error("the status of a process cannot be read", "handle", c.handle, "process", p.id, "error", err)
		}
		switch {
		case st.Ended:
			p.finish(st.Wait)
		case all:
			p.finish(killedStatus)
		}
	}
}
