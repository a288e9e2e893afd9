package process

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// An ending is the work of ending all processes of a container. It is begun once and may be hurried.
type ending struct {
	hurry func()        // KILL now; may be called any number of times
	now   chan struct{} // closed by hurry
	done  chan struct{} // closed when no process is left
}

func newEnding() *ending {
	now := make(chan struct{})
	return &ending{hurry: sync.OnceFunc(func() { close(now) }), now: now, done: make(chan struct{})}
}

const (
	pollMillis    = 20                     // how soon a hurry is noticed; the end of a process is, at once
	rescanAfter   = 200 * time.Millisecond // processes that had KILL and are still there: look for new ones meanwhile
	complainAfter = 5 * time.Second
	blankTries    = 20 // 1 ms apart: a process that is executing another program will show its marker
)

// endAll ends the processes that find returns: SIGTERM, and when grace has passed or now is closed SIGKILL, until there
// are none. A process that the kernel does not let go of keeps it waiting.
func (b *Backend) endAll(find func(*snapshot) []proc, grace time.Duration, now <-chan struct{}) {
	if !b.terminate(find, grace, now) {
		b.kill(context.Background(), find)
	}
}

// look calls use with a fresh process table and the living processes that find returns. When the table cannot be read
// it does not, after a pause: there is nothing better to do than to try again.
func (b *Backend) look(find func(*snapshot) []proc, use func(*snapshot, []proc)) {
	for try := 1; ; {
		s, err := b.snapshot()
		if err != nil {
			b.log.Warn("cannot look for processes to end", "error", err)
			time.Sleep(rescanAfter)
			return
		}
		found, gone := living(find(s)), false
		for ; len(found) == 0 && len(s.blanks) > 0 && !gone && try < blankTries; try++ {
			time.Sleep(time.Millisecond)
			if gone = s.lookAgain(); !gone {
				found = living(find(s))
			}
		}
		if !gone {
			use(s, found)
			s.close()
			return
		}
		s.close() // who knows what it was and what it made
	}
}

// terminate sends SIGTERM to each process once and tells whether all were gone in time.
func (b *Backend) terminate(find func(*snapshot) []proc, grace time.Duration, now <-chan struct{}) bool {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	told := map[identity]bool{}
	for {
		select {
		case <-now:
			return false
		default:
		}
		none, expired := false, false
		b.look(find, func(s *snapshot, found []proc) {
			none = len(found) == 0
			var targets []*target
			for _, p := range found {
				t, there := aim(s.fs, p.identity())
				if !there {
					continue
				}
				targets = append(targets, t)
				if id := p.identity(); !told[id] {
					told[id] = true
					t.signal(s.fs, unix.SIGTERM)
					t.signal(s.fs, unix.SIGCONT) // a stopped process could not act on it
				}
			}
			for len(targets) > 0 && !expired {
				targets = awaitGone(s.fs, targets, pollMillis)
				select {
				case <-now:
					expired = true
				case <-deadline.C:
					expired = true
				default:
				}
			}
			closeAll(targets)
		})
		if none || expired {
			return none
		}
	}
}

// kill sends SIGKILL to all processes, and to those that they made meanwhile, until it finds none, which it tells, or ctx
// has ended.
func (b *Backend) kill(ctx context.Context, find func(*snapshot) []proc) (none bool) {
	began, complained := time.Now(), false
	for {
		b.look(find, func(s *snapshot, found []proc) {
			none = len(found) == 0
			var targets []*target
			for _, p := range found {
				if t, there := aim(s.fs, p.identity()); there {
					t.signal(s.fs, unix.SIGKILL)
					targets = append(targets, t)
				}
			}
			if !complained && time.Since(began) > complainAfter && len(targets) > 0 {
				complained = true
				b.log.Warn("a process does not end although it was killed", "pid", targets[0].pid)
			}
			for again := time.Now().Add(rescanAfter); len(targets) > 0 && time.Now().Before(again); {
				targets = awaitGone(s.fs, targets, pollMillis)
			}
			closeAll(targets)
		})
		if none || ctx.Err() != nil {
			return none
		}
	}
}

func closeAll(targets []*target) {
	for _, t := range targets {
		t.close()
	}
}

// awaitEnd returns when a process is gone, or a zombie.
func awaitEnd(id identity, log *slog.Logger) {
	fs := mustOpenProcFS(log)
	defer fs.close()
	t, there := aim(fs, id)
	for left := []*target{t}; there && len(left) > 0; {
		left = awaitGone(fs, left, int(rescanAfter.Milliseconds()))
	}
}

// killOne kills a process, unless it is gone.
func killOne(id identity, log *slog.Logger) {
	fs := mustOpenProcFS(log)
	defer fs.close()
	if t, there := aim(fs, id); there {
		t.signal(fs, unix.SIGKILL)
		t.close()
	}
}

// mustOpenProcFS tries until it succeeds: it is a shortage that keeps it from that.
func mustOpenProcFS(log *slog.Logger) *procFS {
	for {
		fs, err := openProcFS()
		if err == nil {
			return fs
		}
		log.Warn("cannot look at processes", "error", err)
		time.Sleep(rescanAfter)
	}
}
