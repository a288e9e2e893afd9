package filewatch

import (
	"encoding/binary"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A watchLoop is the goroutine of a Watcher, with its inotify instance. It lives from the first follower to the last.
type watchLoop struct {
	inotify *os.File // nil: none to be had
	fd      int
	stopped chan struct{}
	woken   chan struct{} // without inotify only
	done    chan struct{}
}

// startLoop is called with w.mu held.
func startLoop(w *Watcher) *watchLoop {
	l := &watchLoop{stopped: make(chan struct{}), woken: make(chan struct{}, 1), done: make(chan struct{})}
	if !w.PollOnly {
		// Fails when the user has too many instances (fs.inotify.max_user_instances).
		if fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err == nil {
			l.fd = fd
			l.inotify = os.NewFile(uintptr(fd), "inotify")
		}
	}
	if l.inotify == nil {
		go l.poll(w)
	} else {
		go l.listen(w)
	}
	return l
}

// watch asks for events of an open file, by the handle and not by a path that may lead elsewhere now.
func (l *watchLoop) watch(src *source) (wd int32, ok bool) {
	if l.inotify == nil {
		return 0, false
	}
	n, err := unix.InotifyAddWatch(l.fd, procPath(src.fd), src.mask())
	return int32(n), err == nil
}

func (l *watchLoop) unwatch(wd int32) {
	// Fails when the kernel has dropped the watch along with the file.
	_, _ = unix.InotifyRmWatch(l.fd, uint32(wd))
}

// wake makes the loop sweep soon. It is called with w.mu held.
func (l *watchLoop) wake() {
	if l.inotify != nil {
		_ = l.inotify.SetReadDeadline(time.Now())
		return
	}
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// stop ends the loop and waits for it. It is called once, without w.mu.
func (l *watchLoop) stop() {
	close(l.stopped)
	if l.inotify != nil {
		_ = l.inotify.Close()
	}
	<-l.done
}

// listen reads events, and sweeps in between.
func (l *watchLoop) listen(w *Watcher) {
	defer close(l.done)
	var buf [16 << 10]byte
	for {
		if !w.withLoop(l, func() { _ = l.inotify.SetReadDeadline(time.Now().Add(w.pace())) }) {
			return
		}
		for {
			n, err := l.inotify.Read(buf[:])
			if n > 0 {
				w.withLoop(l, func() { w.dispatch(buf[:n]) })
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return // closed by stop
			}
		}
		w.withLoop(l, w.sweep)
	}
}

// poll only sweeps.
func (l *watchLoop) poll(w *Watcher) {
	defer close(l.done)
	timer := time.NewTimer(fastPace)
	defer timer.Stop()
	for {
		select {
		case <-l.stopped:
			return
		case <-l.woken:
		case <-timer.C:
		}
		w.withLoop(l, w.sweep)
		timer.Reset(fastPace)
	}
}

// withLoop runs f with w.mu held, unless l is no longer the loop of w: what f would touch then belongs to another one.
func (w *Watcher) withLoop(l *watchLoop, f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.loop != l {
		return false
	}
	f()
	return true
}

// dispatch handles events in the layout of inotify(7): watch, mask, cookie, length of the name, name.
func (w *Watcher) dispatch(events []byte) {
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		nameSize := int(binary.NativeEndian.Uint32(events[12:]))
		size := unix.SizeofInotifyEvent + nameSize
		events = events[min(size, len(events)):]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			w.sweep()
		case mask&unix.IN_IGNORED != 0:
			w.lose(wd)
		case mask == unix.IN_MODIFY, nameSize > 0: // a name tells of a file in a directory
			for _, src := range w.byWatch[wd] {
				src.notify()
			}
		default:
			for _, src := range w.byWatch[wd] {
				w.look(src)
			}
		}
	}
}

// lose goes on without a watch that the kernel has dropped.
func (w *Watcher) lose(wd int32) {
	for _, src := range w.byWatch[wd] {
		src.wd = -1
		w.unwatched++
		w.look(src)
		w.loop.wake()
	}
	delete(w.byWatch, wd)
}
