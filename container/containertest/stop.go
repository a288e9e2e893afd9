package containertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
)

var stopTests = []test{
	{"Term", testStopTerm},
	{"Kill", testStopKill},
	{"IgnoredTerm", testStopIgnoredTerm},
	{"Stopped", testStopped},
	{"Orphans", testOrphans},
	{"OthersLive", testOthersLive},
	{"ContextEnds", testStopContextEnds},
	{"WhileStarting", testStopWhileStarting},
}

// trapping starts a shell that reacts to SIGTERM as told, and returns when it does.
func (s *suite) trapping(c container.Container, reaction string) container.Process {
	s.Helper()
	var out safeBuffer
	p, err := c.Run(s.ctx, script("trap '"+reaction+"' TERM; echo ready; while :; do sleep 0.05 || :; done"), container.IO{Stdout: &out})
	s.must(err)
	s.eventually("ready", func() bool { return out.String() != "" })
	return p
}

func testStopTerm(s *suite) {
	c := s.create(container.Spec{})
	p := s.trapping(c, "exit 7")
	s.must(c.Stop(s.ctx, false))
	equal(s, "exit status", s.wait(p), 7)
	equal(s, "processes", len(s.info(c).Processes), 0)
}

func testStopKill(s *suite) {
	c := s.create(container.Spec{})
	p := s.trapping(c, "exit 7")
	s.must(c.Stop(s.ctx, true))
	s.signalled(s.wait(p), 9)
}

func testStopIgnoredTerm(s *suite) {
	c := s.create(container.Spec{})
	p := s.trapping(c, "")
	s.must(c.Stop(s.ctx, false))
	s.signalled(s.wait(p), 9)
}

func testStopped(s *suite) {
	c := s.create(container.Spec{})
	s.must(c.Stop(s.ctx, false))
	s.must(c.Stop(s.ctx, true))
	equal(s, "state", s.info(c).State, container.StateStopped)
	_, err := c.Run(s.ctx, script("true"), container.IO{})
	s.is(err, container.ErrStopped)
	if _, err := s.b.Lookup(s.ctx, c.Handle()); err != nil {
		s.Errorf("a stopped container is not found: %v", err)
	}
	equal(s, "containers", len(s.handles()), 1)
}

// testOrphans ends processes that left parents, session and output behind.
func testOrphans(s *suite) {
	for name, end := range map[string]func(container.Container) error{
		"Stop":      func(c container.Container) error { return c.Stop(s.ctx, false) },
		"Stop kill": func(c container.Container) error { return c.Stop(s.ctx, true) },
		"Destroy":   func(c container.Container) error { return c.Destroy(s.ctx) },
	} {
		c, num := s.create(container.Spec{}), token()
		s.output(c, s.helper(c, "detach 1 "+num))
		// A job that the shell left behind, in the session of a leader that has ended.
		s.output(c, script("sleep "+num+" >/dev/null 2>&1 & :"))
		s.appears(num, 2)
		if err := end(c); err != nil {
			s.Errorf("%s: %v", name, err)
		}
		s.gone(num)
	}
}

// testOthersLive checks that nothing else is ended.
func testOthersLive(s *suite) {
	a, b, num := s.create(container.Spec{}), s.create(container.Spec{}), token()
	p := s.start(b, container.ProcessSpec{Path: "sleep", Args: []string{num}})
	s.output(b, s.helper(b, "detach 1 "+num))
	s.appears(num, 2)
	s.start(a, container.ProcessSpec{Path: "sleep", Args: []string{token()}})
	s.must(a.Stop(s.ctx, false))
	s.must(a.Destroy(s.ctx))
	s.appears(num, 2)
	equal(s, "state", s.info(b).State, container.StateActive)
	s.must(b.Stop(s.ctx, true))
	s.signalled(s.wait(p), 9)
	s.gone(num)
}

func testStopContextEnds(s *suite) {
	c := s.create(container.Spec{})
	p := s.trapping(c, "")
	ctx, cancel := context.WithTimeout(s.ctx, min(s.cfg.StopGrace/4, 50*time.Millisecond))
	defer cancel()
	s.is(c.Stop(ctx, false), context.DeadlineExceeded)
	equal(s, "state", s.info(c).State, container.StateStopped)
	s.signalled(s.wait(p), 9) // nobody asked again
	s.must(c.Stop(s.ctx, false))
}

// testStopWhileStarting stops a container while processes are started: each is either refused or ended.
func testStopWhileStarting(s *suite) {
	c, num := s.create(container.Spec{}), token()
	first := s.start(c, container.ProcessSpec{Path: "sleep", Args: []string{num}})
	s.appears(num, 1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				p, err := c.Run(s.ctx, container.ProcessSpec{Path: "sleep", Args: []string{num}}, container.IO{})
				if err != nil {
					if !errors.Is(err, container.ErrStopped) {
						s.Errorf("refused with %v", err)
					}
					return
				}
				if _, err := p.Wait(s.ctx); err != nil {
					s.Error(err)
				}
			}
		})
	}
	s.must(c.Stop(s.ctx, true))
	wg.Wait()
	s.signalled(s.wait(first), 9)
	s.gone(num)
}
