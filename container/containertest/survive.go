package containertest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/deakit/deakit/container"
)

var survivalTests = []survivalTest{
	{name: "Running", makers: makers(makeRunning), check: checkRunning},
	{name: "EndedMeanwhile", makers: makers(makeEnding), meanwhile: letEnd, check: checkEnded},
	{name: "EndsLater", makers: makers(makeEnding), check: checkEndsLater},
	{name: "Twice", makers: makers(makeFirst, makeSecond), check: checkTwice},
	{name: "Stopped", makers: makers(makeStopped), check: checkStopped},
	{name: "WhileStopping", makers: makers(makeStopping), check: checkStopping},
	{name: "OutOfMemory", makers: makers(makeHungry), check: checkHungry},
	{name: "Orphans", makers: makers(makeOrphans), check: checkOrphans},
	{name: "AnyMoment", makers: makers(makeStorm, makeStorm, makeStorm, makeStorm), check: checkStorm},
}

func makers(list ...func(*suite, *estate)) []func(*suite, *estate) { return list }

const sharedPath = "/shared"

// leave makes a container for the estate. It sees the shared directory.
func (s *suite) leave(e *estate, spec container.Spec) container.Container {
	s.Helper()
	spec.BindMounts = append(spec.BindMounts, container.BindMount{Src: s.shared(), Dst: sharedPath, Writable: true})
	c := s.create(spec)
	e.Handles = append(e.Handles, c.Handle())
	return c
}

// leaveProcess starts a process of the first container, whose output is discarded.
func (s *suite) leaveProcess(e *estate, c container.Container, spec container.ProcessSpec) container.Process {
	s.Helper()
	p := s.start(c, spec)
	e.Processes = append(e.Processes, p.ID())
	return p
}

// awaitGo is the beginning of a script that waits for the file "go" in the shared directory, its first argument.
const awaitGo = `while [ ! -e "$1/go" ]; do sleep 0.02; done; `

func (s *suite) sayGo() { s.must(os.WriteFile(filepath.Join(s.shared(), "go"), nil, 0o644)) }

var survivor = container.Spec{
	Handle:     "Survivor-1_x",
	Env:        []string{"WHO=the spec", "odd.name=\xff\n"},
	Properties: map[string]string{"owner": "suite", "\xff": "\x00\xfe", "empty": ""},
	Limits:     container.Limits{MemoryBytes: 512 << 20, DiskBytes: 1 << 30, DiskInodes: 7, CPUShares: 2, CPUQuota: 0.5, PIDs: 200},
}

// makeRunning leaves a process that sleeps, one that writes all the time to streams that nobody reads, and one that has
// ended.
func makeRunning(s *suite, e *estate) {
	c := s.leave(e, survivor)
	s.netIn(c, 0, 0)
	s.netIn(c, 0, 0)
	s.must(c.NetOut(s.ctx, container.EgressRule{Protocol: container.TCP, Network: "192.0.2.1", Ports: "80"}))
	s.leaveProcess(e, c, container.ProcessSpec{Path: "sleep", Args: []string{e.Token}})
	s.leaveProcess(e, c, script("while :; do head -c 70000 /dev/urandom; head -c 70000 /dev/urandom >&2; echo >>beats; done"))
	equal(s, "exit status", s.wait(s.leaveProcess(e, c, script("exit 5"))), 5)
	s.appears(e.Token, 1)
	e.Info = s.info(c)
}

func checkRunning(s *suite, e *estate) {
	if got := s.handles(); !slices.Equal(got, e.Handles) {
		s.Fatalf("handles: %q", got)
	}
	c, info := s.inherited(e, 0)
	equal(s, "handle", c.Handle(), survivor.Handle)
	if !reflect.DeepEqual(info.Properties, survivor.Properties) {
		s.Errorf("properties: %q", info.Properties)
	}
	e.Info.Properties = info.Properties // which JSON cannot hold
	if !reflect.DeepEqual(info, e.Info) {
		s.Errorf("description changed\n from %+v\n to   %+v", e.Info, info)
	}
	equal(s, "exit status of a process that had ended", s.wait(s.attached(e, 2)), 5)

	// It works as if nothing had happened.
	env := s.output(c, container.ProcessSpec{Path: "env"})
	for _, entry := range survivor.Env {
		if !strings.Contains(env, entry) {
			s.Errorf("%q is missing in the environment", entry)
		}
	}
	next := s.start(c, script("exit 6"))
	if next.ID() <= slices.Max(e.Processes) {
		s.Errorf("id %d was given again", next.ID())
	}
	equal(s, "exit status of a new process", s.wait(next), 6)
	s.checkPorts(c, info.Ports)
	s.checkUsage(c)

	// The one that writes goes on.
	beats := func() int {
		n, err := strconv.Atoi(strings.TrimSpace(s.output(c, script("wc -c <beats"))))
		s.must(err)
		return n
	}
	before := beats()
	s.eventually("a process whose output nobody reads goes on", func() bool { return beats() > before+1 })

	// Signals and ends reach the right processes.
	if !s.cfg.Tolerances.NoSignal {
		sleeper := s.attached(e, 0)
		s.must(sleeper.Signal(s.ctx, syscall.SIGTERM))
		s.endedBy(sleeper, 15)
		s.gone(e.Token)
		s.eventually("one process is left", func() bool { return slices.Equal(s.info(c).Processes, e.Processes[1:2]) })
	}
	s.must(c.Stop(s.ctx, true))
	s.endedBy(s.attached(e, 1), 9)
	s.must(c.Destroy(s.ctx))
	if info.Path != "" {
		if _, err := os.Lstat(info.Path); !errors.Is(err, os.ErrNotExist) {
			s.Errorf("%s is left: %v", info.Path, err)
		}
	}
	other := s.create(container.Spec{})
	equal(s, "port that was given back", s.netIn(other, info.Ports[0].HostPort, 0).HostPort, info.Ports[0].HostPort)
}

// checkPorts checks that nobody gets the ports of a container.
func (s *suite) checkPorts(c container.Container, ports []container.PortMapping) {
	s.Helper()
	other := s.create(container.Spec{})
	for _, m := range ports {
		_, err := other.NetIn(s.ctx, m.HostPort, 0)
		s.is(err, container.ErrNoPort)
	}
	for range 10 {
		if m := s.netIn(other, 0, 0); slices.Contains(ports, m) {
			s.Errorf("port %d was drawn again", m.HostPort)
		}
	}
	s.must(other.Destroy(s.ctx))
	equal(s, "ports", len(s.info(c).Ports), len(ports))
}

func (s *suite) checkUsage(c container.Container) {
	s.Helper()
	before := s.usage(c)
	if before.Processes < 2 || before.MemoryBytes <= 0 || before.DiskBytes <= 0 || before.CPUTime < 0 {
		s.Errorf("usage: %+v", before)
	}
	s.output(c, script("(i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done); exit 0"))
	if after := s.usage(c); after.CPUTime <= before.CPUTime {
		s.Errorf("processor time went from %v to %v", before.CPUTime, after.CPUTime)
	}
}

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

func makeFirst(s *suite, e *estate) {
	c := s.leave(e, container.Spec{})
	s.netIn(c, 0, 0)
	s.leaveProcess(e, c, container.ProcessSpec{Path: "sleep", Args: []string{e.Token}})
	e.Info = s.info(c)
}

// makeSecond adopts, adds, and is killed too.
func makeSecond(s *suite, e *estate) {
	c, _ := s.inherited(e, 0)
	s.must(c.SetLimits(s.ctx, container.Limits{PIDs: 77}))
	s.netIn(c, 0, 0)
	s.leaveProcess(e, c, container.ProcessSpec{Path: "sleep", Args: []string{e.Token}})
	e.Info = s.info(c)
}

func checkTwice(s *suite, e *estate) {
	c, info := s.inherited(e, 0)
	if !reflect.DeepEqual(info, e.Info) {
		s.Errorf("description changed\n from %+v\n to   %+v", e.Info, info)
	}
	equal(s, "limit", info.Limits.PIDs, 77)
	s.appears(e.Token, 2)
	s.checkPorts(c, info.Ports)
	s.must(c.Stop(s.ctx, false))
	for i := range e.Processes {
		s.endedBy(s.attached(e, i), 15)
	}
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

// makeStorm uses a back end in all ways at once, and so is killed in the midst of anything.
func makeStorm(s *suite, e *estate) {
	for _, c := range s.all() { // of the maker before
		if rand.IntN(2) == 0 {
			s.must(c.Destroy(s.ctx))
		}
	}
	var done atomic.Int64
	for range 4 {
		go func() {
			for {
				s.lifeInStorm(e)
				done.Add(1)
			}
		}()
	}
	some := rand.Int64N(20)
	s.eventually("some were made", func() bool { return done.Load() >= some })
}

// lifeInStorm panics when something fails: the test does not wait for it.
func (s *suite) lifeInStorm(e *estate) {
	step := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	c, err := s.tryCreate(container.Spec{})
	step(err)
	_, err = c.NetIn(s.ctx, 0, 0)
	step(err)
	for range rand.IntN(3) {
		_, err := c.Run(s.ctx, container.ProcessSpec{Path: "sleep", Args: []string{e.Token}}, container.IO{})
		step(err)
	}
	step(c.SetLimits(s.ctx, container.Limits{PIDs: 9}))
	if rand.IntN(2) == 0 {
		step(c.Stop(s.ctx, rand.IntN(2) == 0))
	}
	step(c.Destroy(s.ctx))
}

func checkStorm(s *suite, e *estate) {
	for _, c := range s.all() {
		// All run that are known. Where a status can be lost, so can the fact that a process was started.
		s.eventually("what is known of processes is so", func() bool {
			info, used := s.info(c), s.usage(c).Processes
			return info.State == container.StateStopped || used == len(info.Processes) || used > len(info.Processes) && s.cfg.Tolerances.LostStatus
		})
		if n := len(s.info(c).Ports); n > 1 {
			s.Errorf("%d ports", n)
		}
		s.must(c.Destroy(s.ctx))
	}
	equal(s, "containers", len(s.handles()), 0)
	s.gone(e.Token)
	equal(s, "afterwards", s.output(s.create(container.Spec{}), script("echo fine")), "fine\n")
}
