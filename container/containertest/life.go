package containertest

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/deakit/deakit/container"
)

var lifeTests = []test{
	{"Create", testCreate},
	{"DrawnHandles", testDrawnHandles},
	{"BadHandles", testBadHandles},
	{"CreateRace", testCreateRace},
	{"FailedCreateLeavesNothing", testFailedCreate},
	{"CancelledCreateLeavesNothing", testCancelledCreate},
	{"Destroy", testDestroy},
	{"Fleet", testFleet},
}

func (s *suite) handles() []string {
	s.Helper()
	handles, err := s.b.List(s.ctx)
	s.must(err)
	return handles
}

func testCreate(s *suite) {
	properties := map[string]string{"owner": "suite", "empty": ""}
	limits := container.Limits{MemoryBytes: 256 << 20, DiskBytes: 1 << 30, PIDs: 200}
	c := s.create(container.Spec{Handle: "Life-1_x", Properties: properties, Limits: limits})
	equal(s, "handle", c.Handle(), "Life-1_x")
	properties["owner"] = "changed by the caller"

	info := s.info(c)
	equal(s, "state", info.State, container.StateActive)
	equal(s, "limits", info.Limits, limits)
	equal(s, "events", len(info.Events), 0)
	equal(s, "processes", len(info.Processes), 0)
	if !maps.Equal(info.Properties, map[string]string{"owner": "suite", "empty": ""}) {
		s.Errorf("properties: %v", info.Properties)
	}
	info.Properties["owner"] = "changed by a reader"
	equal(s, "property", s.info(c).Properties["owner"], "suite")

	if got := s.handles(); !slices.Equal(got, []string{"Life-1_x"}) {
		s.Errorf("handles: %q", got)
	}
	found, err := s.b.Lookup(s.ctx, "Life-1_x")
	s.must(err)
	equal(s, "handle of the found one", found.Handle(), "Life-1_x")
	equal(s, "output through the found one", s.output(found, script("echo hi")), "hi\n")
	_, err = s.b.Lookup(s.ctx, "nobody")
	s.is(err, container.ErrNotFound)
}

func testDrawnHandles(s *suite) {
	a, b := s.create(container.Spec{}), s.create(container.Spec{})
	if a.Handle() == "" || a.Handle() == b.Handle() {
		s.Errorf("handles %q and %q", a.Handle(), b.Handle())
	}
	equal(s, "containers", len(s.handles()), 2)
}

func testBadHandles(s *suite) {
	for _, handle := range []string{".", "..", "a/b", "../a", "a b", "a\x00", "ü", "a.b", strings.Repeat("x", 65)} {
		_, err := s.b.Create(s.ctx, container.Spec{Handle: handle, RootFS: s.cfg.RootFS})
		if !errors.Is(err, container.ErrInvalid) {
			s.Errorf("handle %q: error %v, want %q", handle, err, container.ErrInvalid)
		}
	}
	s.create(container.Spec{Handle: strings.Repeat("x", 64)})
}

func testCreateRace(s *suite) {
	const racers = 8
	var won atomic.Int32
	var wg sync.WaitGroup
	for range racers {
		wg.Go(func() {
			_, err := s.tryCreate(container.Spec{Handle: "contested"})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, container.ErrExists) {
				s.Errorf("loser got %v", err)
			}
		})
	}
	wg.Wait()
	equal(s, "winners", won.Load(), 1)
	equal(s, "containers", len(s.handles()), 1)
}

func testFailedCreate(s *suite) {
	missing := []container.BindMount{{Src: "/does/not/exist", Dst: "/mnt"}}
	if _, err := s.tryCreate(container.Spec{Handle: "again", BindMounts: missing}); err == nil {
		s.Fatal("a bind mount of nothing was accepted")
	}
	equal(s, "containers", len(s.handles()), 0)
	s.create(container.Spec{Handle: "again"})
}

func testCancelledCreate(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.b.Create(ctx, container.Spec{Handle: "again", RootFS: s.cfg.RootFS})
	s.is(err, context.Canceled)
	equal(s, "containers", len(s.handles()), 0)
	s.create(container.Spec{Handle: "again"})
}

func testDestroy(s *suite) {
	c, num := s.create(container.Spec{Handle: "doomed"}), token()
	p := s.start(c, container.ProcessSpec{Path: "sleep", Args: []string{num}})
	s.appears(num, 1)
	dir := s.info(c).Path
	s.must(c.Destroy(s.ctx))
	s.gone(num)
	s.signalled(s.wait(p), 9)
	if dir != "" {
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			s.Errorf("%s is left: %v", dir, err)
		}
	}
	equal(s, "containers", len(s.handles()), 0)
	for what, err := range map[string]error{
		"Destroy":   c.Destroy(s.ctx),
		"Stop":      c.Stop(s.ctx, true),
		"SetLimits": c.SetLimits(s.ctx, container.Limits{}),
		"NetOut":    c.NetOut(s.ctx, container.EgressRule{Protocol: container.TCP}),
		"StreamIn":  c.StreamIn(s.ctx, "/tmp", "", strings.NewReader("")),
		"Info":      second(c.Info(s.ctx)),
		"Usage":     second(c.Usage(s.ctx)),
		"Run":       second(c.Run(s.ctx, script("true"), container.IO{})),
		"Attach":    second(c.Attach(s.ctx, p.ID(), container.IO{})),
		"NetIn":     second(c.NetIn(s.ctx, 0, 0)),
		"StreamOut": second(c.StreamOut(s.ctx, "/tmp/")),
		"Lookup":    second(s.b.Lookup(s.ctx, "doomed")),
	} {
		if !errors.Is(err, container.ErrNotFound) {
			s.Errorf("%s of a destroyed container: error %v, want %q", what, err, container.ErrNotFound)
		}
	}
	s.create(container.Spec{Handle: "doomed"})
}

func second[T any](_ T, err error) error { return err }

// testFleet makes, uses and destroys containers at the same time.
func testFleet(s *suite) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, err := s.tryCreate(container.Spec{})
			if err != nil {
				s.Error(err)
				return
			}
			var inner sync.WaitGroup
			for range 4 {
				inner.Go(func() {
					p, err := c.Run(s.ctx, script("exit 5"), container.IO{})
					if err != nil {
						s.Error(err)
						return
					}
					if status, err := p.Wait(s.ctx); err != nil || status != 5 {
						s.Errorf("exit status %d, error %v", status, err)
					}
					if _, err := c.Usage(s.ctx); err != nil {
						s.Error(err)
					}
				})
			}
			inner.Wait()
			if err := c.Destroy(s.ctx); err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	equal(s, "containers", len(s.handles()), 0)
}
