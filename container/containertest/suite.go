package containertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/deakit/deakit/container"
)

// Config says how to test a back end.
type Config struct {
	// New returns a back end without containers, and registers with t.Cleanup what closes it. It is called for each
	// test of the suite. It may be the same one: tests leave no containers.
	New func(t *testing.T) container.Backend

	// Open returns a back end that keeps its containers below dir, with those that an earlier one left there, and
	// registers with t.Cleanup what closes it. It is called where Capabilities.Survives is true: first in other processes
	// (this test binary, running the test that called Run), which are killed, and then in the test.
	Open func(t *testing.T, dir string) container.Backend

	// RootFS is given to each container, for back ends that need one.
	RootFS string

	// StopGrace is the time between SIGTERM and SIGKILL that New sets up. Short makes the suite fast; below about 300 ms
	// a busy machine fails it.
	StopGrace time.Duration

	// Patience is how long one step may take before the suite gives up on it. Default 30 s.
	Patience time.Duration

	Tolerances Tolerances

	// Groups are the groups of tests that are run ("Life", "Survive"): for a back end that differs from another one, which
	// passes all, only where they look. Default all.
	Groups []string
}

// Tolerances are the known shortcomings of a back end against the interface. The zero value has none.
type Tolerances struct {
	// LateStartErrors: a program or a working directory that does not exist is reported by an exit status other than
	// 0, not by an error of Run.
	LateStartErrors bool

	// Signals255: a process that a signal ended has exit status 255, not 128 plus the number of the signal (Warden).
	Signals255 bool

	// NoSignal: Process.Signal returns ErrUnsupported.
	NoSignal bool

	// FewSignals: SIGTERM and SIGKILL are the only signals; Process.Signal returns ErrUnsupported for others (Garden).
	FewSignals bool

	// TextOnly: input, arguments and environment must be UTF-8. Others are ErrUnsupported, of Wait when it is the input
	// (Garden).
	TextOnly bool

	// FixedLimits: limits are those of Create; SetLimits with others returns ErrUnsupported (Garden).
	FixedLimits bool

	// LostStatus: the exit status of a process that outlived the back end that started it is ErrStatusUnknown.
	LostStatus bool

	// Remote: processes cannot be seen from the host, so that leaks of them cannot be found by looking.
	Remote bool

	// Without has the tests ("Files/BindMounts") that ask for what the back end is not made for, each with the reason. They
	// are not run. A name that the suite does not know is an error.
	Without map[string]string
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, cfg Config) {
	if cfg.New == nil {
		t.Fatal("containertest: Config.New is missing")
	}
	if cfg.StopGrace <= 0 {
		t.Fatal("containertest: Config.StopGrace is missing")
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	if name := os.Getenv(makerEnv); name != "" {
		beMaker(t, cfg, name)
	}
	asked := map[string]bool{}
	for _, name := range cfg.Groups {
		asked[name] = true
	}
	wanted := func(group string) bool {
		defer delete(asked, group)
		return len(cfg.Groups) == 0 || asked[group]
	}
	without := maps.Clone(cfg.Tolerances.Without)
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Life", lifeTests},
		{"Run", runTests},
		{"IO", ioTests},
		{"Files", fileTests},
		{"Hostile", hostileTests},
		{"Net", netTests},
		{"Limits", limitTests},
		{"Stop", stopTests},
	} {
		if !wanted(group.name) {
			continue
		}
		t.Run(group.name, func(t *testing.T) {
			for _, tc := range group.tests {
				name := group.name + "/" + tc.name
				if reason := without[name]; reason != "" {
					t.Logf("without %s: %s", name, reason)
					delete(without, name)
					continue
				}
				t.Run(tc.name, func(t *testing.T) { tc.run(newSuite(t, cfg)) })
			}
		})
	}
	for name, reason := range without {
		t.Errorf("there is no test %q to do without, or no reason: %q", name, reason)
	}
	if wanted("Survive") {
		t.Run("Survive", func(t *testing.T) {
			if cfg.New(t).Capabilities().Survives {
				survive(t, cfg)
			}
		})
	}
	for name := range asked {
		t.Errorf("there is no group %q", name)
	}
}

type test struct {
	name string
	run  func(*suite)
}

// A suite is the surroundings of one test.
type suite struct {
	*testing.T
	cfg  Config
	b    container.Backend
	caps container.Capabilities
	ctx  context.Context // ends when patience does
	dir  string          // of a survival test
}

func newSuite(t *testing.T, cfg Config) *suite {
	b := cfg.New(t)
	// Not t.Context, which ends before clean-ups run.
	ctx, cancel := context.WithTimeout(context.Background(), cfg.Patience)
	t.Cleanup(cancel)
	s := &suite{T: t, cfg: cfg, b: b, caps: b.Capabilities(), ctx: ctx}
	if left := s.handles(); len(left) > 0 {
		s.Fatalf("there are containers, maybe of the test before: %q", left)
	}
	return s
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// is fails the test unless err is of the kind wanted.
func (s *suite) is(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("error is %v, want %q", err, want)
	}
}

func equal[T comparable](s *suite, what string, got, want T) {
	s.Helper()
	if got != want {
		s.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// create makes a container that can run the helper, and destroys it in the end if the test has not.
func (s *suite) create(spec container.Spec) container.Container {
	s.Helper()
	c, err := s.tryCreate(spec)
	s.must(err)
	return c
}

func (s *suite) tryCreate(spec container.Spec) (container.Container, error) {
	spec.RootFS = s.cfg.RootFS
	spec.BindMounts = append(spec.BindMounts, container.BindMount{Src: executable(s.T), Dst: helperPath})
	c, err := s.b.Create(s.ctx, spec)
	if err != nil {
		return nil, err
	}
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Patience)
		defer cancel()
		if err := c.Destroy(ctx); err != nil && !errors.Is(err, container.ErrNotFound) {
			s.Errorf("clean up: %v", err)
		}
	})
	return c, nil
}

func (s *suite) info(c container.Container) container.Info {
	s.Helper()
	info, err := c.Info(s.ctx)
	s.must(err)
	return info
}

func script(text string, args ...string) container.ProcessSpec {
	return container.ProcessSpec{Path: "sh", Args: append([]string{"-c", text, "sh"}, args...)}
}

// start starts a process whose output goes nowhere.
func (s *suite) start(c container.Container, spec container.ProcessSpec) container.Process {
	s.Helper()
	p, err := c.Run(s.ctx, spec, container.IO{})
	s.must(err)
	return p
}

func (s *suite) wait(p container.Process) container.ExitStatus {
	s.Helper()
	status, err := p.Wait(s.ctx)
	s.must(err)
	return status
}

// result is what a process left.
type result struct {
	stdout, stderr string
	status         container.ExitStatus
}

func (s *suite) run(c container.Container, spec container.ProcessSpec) result {
	s.Helper()
	var stdout, stderr bytes.Buffer
	p, err := c.Run(s.ctx, spec, container.IO{Stdout: &stdout, Stderr: &stderr})
	s.must(err)
	status := s.wait(p)
	return result{stdout.String(), stderr.String(), status}
}

// output runs a process that must succeed, and returns what it printed.
func (s *suite) output(c container.Container, spec container.ProcessSpec) string {
	s.Helper()
	r := s.run(c, spec)
	if r.status != 0 {
		s.Fatalf("%s %q: exit status %d: %s", spec.Path, spec.Args, r.status, r.stderr)
	}
	return r.stdout
}

// signalled checks the exit status of a process that signal ended.
func (s *suite) signalled(status container.ExitStatus, signal int) {
	s.Helper()
	want := container.ExitStatus(128 + signal)
	if s.cfg.Tolerances.Signals255 {
		want = 255
	}
	equal(s, "exit status", status, want)
}

// eventually waits for ok to become true.
func (s *suite) eventually(what string, ok func() bool) {
	s.Helper()
	for !ok() {
		select {
		case <-s.ctx.Done():
			s.Fatalf("still not so: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// token returns a number of seconds to sleep for that nobody else sleeps for, so that the process is found by it.
func token() string { return strconv.Itoa(500_000_000 + rand.IntN(400_000_000)) }

// appears waits until n processes with the token run.
func (s *suite) appears(token string, n int) {
	s.Helper()
	if !s.cfg.Tolerances.Remote {
		s.eventually(fmt.Sprintf("%d processes with argument %s", n, token), func() bool { return s.visible(token) == n })
	}
}

// gone fails the test if processes with the token run.
func (s *suite) gone(token string) {
	s.Helper()
	if s.cfg.Tolerances.Remote {
		return
	}
	if n := s.visible(token); n > 0 {
		s.Errorf("%d processes with argument %s are left", n, token)
	}
}

// hostDir returns a directory of the host that every account can read and write.
func (s *suite) hostDir() string {
	s.Helper()
	dir, err := os.MkdirTemp("", "containertest")
	s.must(err)
	s.Cleanup(func() { os.RemoveAll(dir) })
	s.must(os.Chmod(dir, 0o777))
	dir, err = filepath.EvalSymlinks(dir)
	s.must(err)
	return dir
}

// safeBuffer collects output that is looked at while it arrives.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
