package containertest

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
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
	{name: "AnyMoment", makers: makers(makeStorm, makeStorm, makeStorm), check: checkStorm},
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
	s.output(c, script("(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); exit 0"))
	if after := s.usage(c); after.CPUTime <= before.CPUTime {
		s.Errorf("processor time went from %v to %v", before.CPUTime, after.CPUTime)
	}
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
	some := rand.Int64N(12)
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
