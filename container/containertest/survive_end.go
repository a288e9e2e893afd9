package containertest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/deakit/deakit/container"
)

var endings = []struct {
	script string
	status container.ExitStatus
}{
	{"exit 0", 0}, {"exit 3", 3}, {"exit 255", 255}, {"kill -KILL $$", 137}, {"kill -TERM $$", 143}, {"exec sh -c 'exit 8'", 8},
}

// makeEnding leaves processes that end when they are told, and one that leaves another behind.
func makeEnding(s *suite, e *estate) {
	c := s.leave(e, container.Spec{})
	shared := s.info(c).Inside(sharedPath)
	for _, ending := range endings {
		s.leaveProcess(e, c, script(awaitGo+ending.script, shared, e.Token))
	}
	s.leaveProcess(e, c, script(awaitGo+"sleep "+e.Token+" & exit 4", shared))
	s.appears(e.Token, len(endings))
}

func letEnd(s *suite, e *estate) {
	s.sayGo()
	s.appears(e.Token, 1) // what one of them left behind
}

func checkEnded(s *suite, e *estate) {
	c, _ := s.inherited(e, 0)
	s.checkEndings(e)
	s.eventually("all have ended", func() bool { return len(s.info(c).Processes) == 0 })
	if s.cfg.Tolerances.LostStatus {
		return
	}
	equal(s, "exit status of one that left a process", s.wait(s.attached(e, len(endings))), 4)
	s.appears(e.Token, 1)
	if u := s.usage(c); u.Processes != 1 {
		s.Errorf("%d processes", u.Processes)
	}
}

func checkEndsLater(s *suite, e *estate) {
	c, info := s.inherited(e, 0)
	if !slices.Equal(info.Processes, e.Processes) {
		s.Errorf("processes: %v, started were %v", info.Processes, e.Processes)
	}
	s.sayGo()
	s.checkEndings(e)
	s.eventually("all have ended", func() bool { return len(s.info(c).Processes) == 0 })
}

// checkEndings checks the exit statuses, with several who wait.
func (s *suite) checkEndings(e *estate) {
	s.Helper()
	var wg sync.WaitGroup
	for i, ending := range endings {
		p := s.attached(e, i)
		for range 2 {
			wg.Go(func() {
				status, err := p.Wait(s.ctx)
				if s.cfg.Tolerances.LostStatus {
					if !errors.Is(err, container.ErrStatusUnknown) || status != -1 {
						s.Errorf("%s: status %d, error %v, want -1 and %q", ending.script, status, err, container.ErrStatusUnknown)
					}
					return
				}
				want := ending.status
				if want > 128 && s.cfg.Tolerances.Signals255 {
					want = 255
				}
				if err != nil || status != want {
					s.Errorf("%s: status %d, error %v, want %d", ending.script, status, err, want)
				}
			})
		}
	}
	wg.Wait()
}

// endedBy checks the exit status of a survivor that a signal ended.
func (s *suite) endedBy(p container.Process, signal int) {
	s.Helper()
	status, err := p.Wait(s.ctx)
	if s.cfg.Tolerances.LostStatus {
		s.is(err, container.ErrStatusUnknown)
		equal(s, "exit status", status, -1)
		return
	}
	s.must(err)
	s.signalled(status, signal)
}

// makeStopped leaves a container that was stopped and, where memory is limited, one that ran out of it.
func makeStopped(s *suite, e *estate) {
	c := s.leave(e, container.Spec{})
	s.output(c, script("echo kept >file"))
	s.leaveProcess(e, c, container.ProcessSpec{Path: "sleep", Args: []string{e.Token}})
	s.must(c.Stop(s.ctx, true))
	if s.caps.Memory == container.NotEnforced {
		return
	}
	c = s.leave(e, container.Spec{Limits: container.Limits{MemoryBytes: 64 << 20}})
	s.start(c, s.helper(c, fmt.Sprintf("eat %d", 256<<20)))
	s.eventually("out of memory", func() bool { return s.info(c).State == container.StateStopped })
}

func checkStopped(s *suite, e *estate) {
	for i := range e.Handles {
		c, info := s.inherited(e, i)
		equal(s, "state", info.State, container.StateStopped)
		if i == 1 && !slices.Equal(info.Events, []string{container.EventOutOfMemory}) {
			s.Errorf("events: %q", info.Events)
		}
		_, err := c.Run(s.ctx, script("true"), container.IO{})
		s.is(err, container.ErrStopped)
		_, err = c.NetIn(s.ctx, 0, 0)
		s.is(err, container.ErrStopped)
		s.must(c.Stop(s.ctx, false))
		equal(s, "processes", s.usage(c).Processes, 0)
	}
	c, _ := s.inherited(e, 0)
	stream, err := c.StreamOut(s.ctx, "/home/vcap/file")
	s.must(err)
	text, err := io.ReadAll(stream)
	s.must(errors.Join(err, stream.Close()))
	if !strings.Contains(string(text), "kept\n") {
		s.Error("the files are lost")
	}
	s.signalled(s.wait(s.attached(e, 0)), 9)
}

// makeStopping leaves a container in the middle of being stopped.
func makeStopping(s *suite, e *estate) {
	c := s.leave(e, container.Spec{})
	s.leaveProcess(e, c, script("trap '' TERM; : >\"$1/go\"; while :; do sleep 0.05; done", s.info(c).Inside(sharedPath), e.Token))
	s.eventually("it ignores TERM", func() bool {
		_, err := os.Stat(filepath.Join(s.shared(), "go"))
		return err == nil
	})
	go func() { _ = c.Stop(s.ctx, false) }() // the maker ends before it does
	s.eventually("it is being stopped", func() bool { return s.info(c).State == container.StateStopped })
}

func checkStopping(s *suite, e *estate) {
	c, info := s.inherited(e, 0)
	equal(s, "state", info.State, container.StateStopped)
	s.endedBy(s.attached(e, 0), 9) // nobody asked again
	s.must(c.Stop(s.ctx, false))
	s.gone(e.Token)
}

// makeHungry leaves a process that uses too much memory when it is told.
func makeHungry(s *suite, e *estate) {
	c := s.leave(e, container.Spec{Limits: container.Limits{MemoryBytes: 96 << 20}})
	eat := s.helper(c, fmt.Sprintf("eat %d", 256<<20))
	spec := script(awaitGo+`exec "$2" "$3"`, append([]string{s.info(c).Inside(sharedPath), eat.Path}, eat.Args...)...)
	spec.Env = eat.Env
	s.leaveProcess(e, c, spec)
}

func checkHungry(s *suite, e *estate) {
	c, info := s.inherited(e, 0)
	equal(s, "events", len(info.Events), 0)
	s.sayGo()
	if s.caps.Memory == container.NotEnforced {
		s.must(c.Stop(s.ctx, true))
		return
	}
	s.eventually("the event", func() bool { return slices.Equal(s.info(c).Events, []string{container.EventOutOfMemory}) })
	s.eventually("the container is stopped", func() bool { return s.info(c).State == container.StateStopped })
	if status, err := s.attached(e, 0).Wait(s.ctx); err == nil && status == 0 {
		s.Error("a process above the limit ended well")
	}
}

// makeOrphans leaves processes without parents in several containers.
func makeOrphans(s *suite, e *estate) {
	for range 3 {
		c := s.leave(e, container.Spec{})
		s.output(c, s.helper(c, "detach 1 "+e.Token))
		s.output(c, script("sleep "+e.Token+" >/dev/null 2>&1 & :"))
	}
	s.appears(e.Token, 6)
}

func checkOrphans(s *suite, e *estate) {
	s.appears(e.Token, 6)
	stopped, _ := s.inherited(e, 0)
	s.must(stopped.Stop(s.ctx, false))
	s.appears(e.Token, 4)
	destroyed, _ := s.inherited(e, 1)
	s.must(destroyed.Destroy(s.ctx))
	s.appears(e.Token, 2)
}
