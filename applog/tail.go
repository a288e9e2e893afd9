package applog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/filewatch"
)

// How long a Tail rests between two looks at its files: a little even when there is more to read, so that an app that
// writes a lot does not keep the node busy; longer and longer when nothing comes. A change of the files ends a nap, where
// the system tells of it.
const (
	breath   = 10 * time.Millisecond
	leastNap = 50 * time.Millisecond
	mostNap  = time.Second
)

// A Tail follows the log of one instance.
type Tail struct {
	follower *Follower
	log      Log

	once     sync.Once
	stopping chan struct{}   // closed by Stop
	patience context.Context // of Stop
	done     chan struct{}   // closed when everything has ended
	unread   error           // set before done is closed

	// What follows belongs to the goroutine.
	dir     *filewatch.Follower // nil while the directory is not open
	streams []*stream
	limiter limiter
	origin  Line
	told    time.Time // when the emitter was last told of what was left out
	failed  time.Time // when a failure was last told in the log
}

// Stop reads what is left, at most FollowerConfig.MaxBehind of each file and no longer than ctx lasts, and emits it with a
// last line that has no end. When it returns, the files are closed, and the container may be destroyed. It returns the
// error of ctx when there was no time to read all. It may be called more than once, and from several goroutines; the first
// call's ctx counts.
func (t *Tail) Stop(ctx context.Context) error {
	t.once.Do(func() {
		t.patience = ctx
		close(t.stopping)
	})
	<-t.done
	return t.unread
}

func (t *Tail) run() {
	defer close(t.done)
	defer t.close()
	nap := leastNap
	for {
		found, more := t.look()
		switch {
		case more || found:
			nap = leastNap
		default:
			nap = min(2*nap, mostNap)
		}
		if !t.rest(breath, nil) || !more && !t.rest(nap, t.changed()) {
			t.unread = t.finish()
			return
		}
	}
}

// rest waits for so long, or for something to happen. It returns false when it is time to stop.
func (t *Tail) rest(d time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.stopping:
		return false
	case <-changed:
		return true
	case <-timer.C:
		return true
	}
}

func (t *Tail) changed() <-chan struct{} {
	if t.dir == nil {
		return nil
	}
	return t.dir.Changed()
}

// look reads what is new, up to a bound, and reports whether there was anything and whether there is more.
func (t *Tail) look() (found, more bool) {
	t.origin = t.log.Origin()
	setDefault(&t.origin.Source, App)
	t.origin.Time = time.Now()
	t.limiter.fill(t.origin.Time)
	t.openDir()
	if t.dir == nil {
		return false, false
	}
	for _, s := range t.streams {
		f, m, err := s.look(t.dir)
		found, more = found || f, more || m
		t.fail(err)
	}
	if t.origin.Time.Sub(t.told) >= time.Second {
		t.tellLeftOut()
	}
	return found, more
}

// finish reads what is left.
func (t *Tail) finish() error {
	for _, s := range t.streams {
		s.left = t.follower.cfg.MaxBehind // a process that outlived the app may write for ever
	}
	for {
		_, more := t.look()
		if !more {
			break
		}
		select {
		case <-t.patience.Done():
			return fmt.Errorf("read the rest of a log: %w", context.Cause(t.patience))
		case <-time.After(breath):
		}
	}
	for _, s := range t.streams {
		s.lines.flush(s.emit)
	}
	t.tellLeftOut()
	return nil
}

// emit passes a line on.
func (t *Tail) emit(kind Stream, text []byte) {
	if !t.limiter.allow() {
		return
	}
	line := t.origin
	line.Stream, line.Text = kind, string(text)
	t.follower.emitter.Emit(line)
}

// tellLeftOut says how much of the log nobody will see.
func (t *Tail) tellLeftOut() {
	if n := t.limiter.dropped; n > 0 {
		t.tell("Log of instance (index %d) has more than %d lines a second: %d lines left out",
			t.origin.Index, t.follower.cfg.LinesPerSecond, n)
		t.limiter.dropped = 0
	}
	for _, s := range t.streams {
		if s.skipped > 0 {
			t.tell("Log of instance (index %d) is longer than can be read: %d bytes of %s left out",
				t.origin.Index, s.skipped, s.name)
			s.skipped = 0
		}
	}
}

// tell emits a line of the DEA's own.
func (t *Tail) tell(format string, args ...any) {
	line := t.origin
	line.Source, line.Stream, line.Text = DEA, Stderr, fmt.Sprintf(format, args...)
	t.follower.emitter.Emit(line)
	t.told = line.Time
}

// openDir opens the directory of the files, anew when it is another one now.
func (t *Tail) openDir() {
	if t.dir != nil && !t.dir.Gone() {
		return
	}
	fd, err := openDir(t.log.Root, t.log.Dir)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			t.fail(err)
		}
		return // the old one, if any, goes on to be of use
	}
	if t.dir != nil {
		t.dir.Leave()
	}
	t.dir = t.follower.watcher.Follow(fd, t.log.Dir)
}

// openDir opens a directory of a container. Links are followed as long as they stay inside.
func openDir(root, dir string) (int, error) {
	tree, err := os.OpenRoot(root)
	if err != nil {
		return -1, err
	}
	defer tree.Close()
	name := strings.Trim(dir, "/")
	if name == "" {
		name = "."
	}
	f, err := tree.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// fail tells of failures, but not too often: they can be the app's doing.
func (t *Tail) fail(err error) {
	if err == nil || t.origin.Time.Sub(t.failed) < lossPause {
		return
	}
	t.failed = t.origin.Time
	t.follower.cfg.Logger.Warn("applog.follow.failed", "app", t.origin.App, "instance", t.origin.Instance, "error", err)
}

func (t *Tail) close() {
	for _, s := range t.streams {
		s.close()
	}
	if t.dir != nil {
		t.dir.Leave()
	}
}
