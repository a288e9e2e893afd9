package filewatch

import (
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How often files are looked at. The slow pace is a safety net below inotify, which does not see what is written through
// a memory mapping or on another machine.
const (
	slowPace = time.Second
	fastPace = 100 * time.Millisecond
)

// A Watcher tells any number of followers when their files change. Followers of one file share a handle and a watch, all
// share one goroutine and one inotify instance, and these exist only while there are followers. The zero value is ready.
//
// Events are hints: whether a file was renamed or deleted is always judged by looking at the open handle. So files that
// cannot be watched, for want of kernel resources or of inotify altogether, are polled and behave the same.
type Watcher struct {
	// PollOnly does without inotify, to try what happens where there is none. It must not change after the first Follow.
	PollOnly bool

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

// A source is a file that is followed. Its fields belong to the Watcher, except for file, which followers read from by
// position, and gone.
type source struct {
	file      *os.File
	fd        int
	isDir     bool
	id        identity
	wd        int32 // -1: not watched
	followers map[*Follower]struct{}
	size      int64
	modified  syscall.Timespec
	gone      chan struct{} // closed when the file was renamed or deleted
}

// A Follower is a share in an open file.
type Follower struct {
	watcher *Watcher
	src     *source
	changed chan struct{} // has a value when there may be something new
}

// File is the open file, which other followers may share: read it by position, and do not close it.
func (f *Follower) File() *os.File { return f.src.file }

// Changed receives when there may be something new: in a file, or, for a directory, in the entries and files of it. Of
// changes inside the files of a directory it only tells while there is inotify.
func (f *Follower) Changed() <-chan struct{} { return f.changed }

// Gone reports whether the file was renamed or deleted.
func (f *Follower) Gone() bool {
	select {
	case <-f.src.gone:
		return true
	default:
		return false
	}
}

// Follow takes possession of the descriptor of a regular file or directory. The caller must Leave.
func (w *Watcher) Follow(fd int, name string) *Follower {
	src := newSource(os.NewFile(uintptr(fd), name), fd)
	fl := &Follower{watcher: w, changed: make(chan struct{}, 1)}

	w.mu.Lock()
	defer w.mu.Unlock()
	if other, ok := w.byIdentity[src.id]; ok {
		_ = src.file.Close()
		fl.src = other
		other.followers[fl] = struct{}{}
		return fl
	}
	src.followers[fl] = struct{}{}
	fl.src = src
	w.add(src)
	return fl
}

func newSource(file *os.File, fd int) *source {
	src := &source{file: file, fd: fd, wd: -1, followers: map[*Follower]struct{}{}, gone: make(chan struct{})}
	path, _ := os.Readlink(procPath(fd)) // without /proc renames stay unnoticed
	src.id.path = path
	if st, ok := src.stat(); ok {
		src.id.dev, src.id.ino = st.Dev, st.Ino
		src.isDir = st.Mode&syscall.S_IFMT == syscall.S_IFDIR
		src.size, src.modified = st.Size, st.Mtim
	}
	return src
}

func (src *source) stat() (*syscall.Stat_t, bool) {
	info, err := src.file.Stat()
	if err != nil {
		return nil, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return st, ok
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// add starts to watch a source.
func (w *Watcher) add(src *source) {
	if w.loop == nil {
		w.sources, w.byIdentity, w.byWatch = map[*source]struct{}{}, map[identity]*source{}, map[int32][]*source{}
		w.unwatched = 0
		w.loop = startLoop(w)
	}
	w.sources[src] = struct{}{}
	w.byIdentity[src.id] = src
	if wd, ok := w.loop.watch(src); ok {
		src.wd = wd
		w.byWatch[wd] = append(w.byWatch[wd], src)
	} else {
		w.unwatched++
		w.loop.wake()
	}
	w.look(src) // at what happened before the watch stood
}

// Leave ends the share. With the last one the file is closed, and with the last file the goroutine has ended.
func (f *Follower) Leave() {
	w, src := f.watcher, f.src
	w.mu.Lock()
	delete(src.followers, f)
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

// Followers counts those that have not left.
func (w *Watcher) Followers() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for src := range w.sources {
		n += len(src.followers)
	}
	return n
}

// retire lets nobody else join a source.
func (w *Watcher) retire(src *source) {
	if w.byIdentity[src.id] == src {
		delete(w.byIdentity, src.id)
	}
}

// unwatch takes a source off its watch, and tells the kernel when no other source has it.
func (w *Watcher) unwatch(src *source, tellKernel bool) {
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
func (w *Watcher) look(src *source) {
	st, ok := src.stat()
	if !ok {
		return
	}
	gone := st.Nlink == 0
	if path, err := os.Readlink(procPath(src.fd)); err == nil && path != src.id.path {
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
func (w *Watcher) sweep() {
	for src := range w.sources {
		w.look(src)
	}
}

// pace is how often to sweep.
func (w *Watcher) pace() time.Duration {
	if w.unwatched > 0 {
		return fastPace
	}
	return slowPace
}

// mask says which events matter. Those of a directory include what happens to the files in it.
func (src *source) mask() uint32 {
	const own = unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF
	if src.isDir {
		return own | unix.IN_CREATE | unix.IN_MOVED_TO
	}
	return own
}
