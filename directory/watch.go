package directory

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How often files are looked at. The slow pace is a safety net below inotify, which does not see what is written through
// a memory mapping or on another machine.
const (
	slowPace = time.Second
	fastPace = 100 * time.Millisecond
)

// A watcher tells any number of tails when their files change. Tails of one file share a handle and a watch, all share
// one goroutine and one inotify instance, and these exist only while there are tails. The zero value is ready.
//
// Events are hints: whether a file was renamed or deleted is always judged by looking at the open handle. So files that
// cannot be watched, for want of kernel resources or of inotify altogether, are polled and behave the same.
type watcher struct {
	pollOnly bool // for tests

	mu         sync.Mutex
	sources    map[*source]struct{}
	byIdentity map[identity]*source // those that can be joined
	byWatch    map[int32][]*source
	unwatched  int // sources without a watch
	loop       *watchLoop
}

// An identity tells open files apart. The path is that of the handle, not one that was asked for: two hard links of one
// file are renamed and deleted separately.
type identity struct {
	dev, ino uint64
	path     string
}

// A source is a file that is followed. Its fields belong to the watcher, except for file, which followers read from by
// position, and gone.
type source struct {
	file      *os.File
	fd        int
	id        identity
	wd        int32 // -1: not watched
	followers map[*follower]struct{}
	size      int64
	modified  unix.Timespec
	gone      chan struct{} // closed when the file was renamed or deleted
}

// A follower is a tail's share in a source.
type follower struct {
	src     *source
	changed chan struct{} // has a value when there may be something new
}

// gone reports whether the file was renamed or deleted.
func (f *follower) gone() bool {
	select {
	case <-f.src.gone:
		return true
	default:
		return false
	}
}

// follow takes possession of the handle. The caller must leave.
func (w *watcher) follow(h *handle) *follower {
	path, _ := pathOf(h.fd) // without /proc renames stay unnoticed
	id := identity{h.stat.Dev, h.stat.Ino, path}
	fl := &follower{changed: make(chan struct{}, 1)}

	w.mu.Lock()
	defer w.mu.Unlock()
	if src, ok := w.byIdentity[id]; ok {
		h.close()
		fl.src = src
		src.followers[fl] = struct{}{}
		return fl
	}
	fl.src = &source{file: h.file(), fd: h.fd, id: id, wd: -1, followers: map[*follower]struct{}{fl: {}},
		size: h.stat.Size, modified: h.stat.Mtim, gone: make(chan struct{})}
	w.add(fl.src)
	return fl
}

// add starts to watch a source.
func (w *watcher) add(src *source) {
	if w.loop == nil {
		w.sources, w.byIdentity, w.byWatch = map[*source]struct{}{}, map[identity]*source{}, map[int32][]*source{}
		w.unwatched = 0
		w.loop = startLoop(w)
	}
	w.sources[src] = struct{}{}
	w.byIdentity[src.id] = src
	if wd, ok := w.loop.watch(src.fd); ok {
		src.wd = wd
		w.byWatch[wd] = append(w.byWatch[wd], src)
	} else {
		w.unwatched++
		w.loop.wake()
	}
	w.look(src) // at what happened before the watch stood
}

// leave ends a share. With the last one the file is closed, and with the last file the goroutine has ended.
func (w *watcher) leave(fl *follower) {
	w.mu.Lock()
	src := fl.src
	delete(src.followers, fl)
	if len(src.followers) > 0 {
		w.mu.Unlock()
		return
	}
	w.unwatch(src, true)
	if src.wd < 0 {
		w.unwatched--
	}
	delete(w.sources, src)
	w.retire(src)
	_ = src.file.Close()
	var last *watchLoop
	if len(w.sources) == 0 {
		last, w.loop = w.loop, nil
	}
	w.mu.Unlock()
	if last != nil {
		last.stop()
	}
}

// retire lets nobody else join a source.
func (w *watcher) retire(src *source) {
	if w.byIdentity[src.id] == src {
		delete(w.byIdentity, src.id)
	}
}

// unwatch takes a source off its watch, and tells the kernel when no other source has it.
func (w *watcher) unwatch(src *source, tellKernel bool) {
	others := w.byWatch[src.wd]
	for i, other := range others {
		if other == src {
			others = append(others[:i:i], others[i+1:]...)
			break
		}
	}
	if len(others) > 0 {
		w.byWatch[src.wd] = others
		return
	}
	delete(w.byWatch, src.wd)
	if tellKernel && src.wd >= 0 {
		w.loop.unwatch(src.wd)
	}
}

// look finds out what has become of a file and tells its followers.
func (w *watcher) look(src *source) {
	var st unix.Stat_t
	if ignoringEINTR(func() error { return unix.Fstat(src.fd, &st) }) != nil {
		return
	}
	gone := st.Nlink == 0
	if path, err := pathOf(src.fd); err == nil && path != src.id.path {
		gone = true
	}
	if gone {
		select {
		case <-src.gone:
		default:
			close(src.gone)
			w.retire(src)
		}
	}
	if gone || st.Size != src.size || st.Mtim != src.modified {
		src.size, src.modified = st.Size, st.Mtim
		src.notify()
	}
}

// notify never blocks: one value in the channel is as good as many.
func (src *source) notify() {
	for fl := range src.followers {
		select {
		case fl.changed <- struct{}{}:
		default:
		}
	}
}

// sweep looks at all files.
func (w *watcher) sweep() {
	for src := range w.sources {
		w.look(src)
	}
}

// pace is how often to sweep.
func (w *watcher) pace() time.Duration {
	if w.unwatched > 0 {
		return fastPace
	}
	return slowPace
}
