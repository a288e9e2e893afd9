package containertest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/deakit/deakit/container"
)

var limitTests = []test{
	{"SetLimits", testSetLimits},
	{"OpenFiles", testOpenFiles},
	{"FileSize", testFileSize},
	{"AllRlimits", testAllRlimits},
	{"OutOfMemory", testOutOfMemory},
	{"Usage", testUsage},
}

func testSetLimits(s *suite) {
	c := s.create(container.Spec{Limits: container.Limits{MemoryBytes: 256 << 20}})
	limits := container.Limits{MemoryBytes: 512 << 20, DiskBytes: 2 << 30, PIDs: 300, CPUShares: 512}
	if s.cfg.Tolerances.FixedLimits {
		s.is(c.SetLimits(s.ctx, limits), container.ErrUnsupported)
		s.must(c.SetLimits(s.ctx, container.Limits{MemoryBytes: 256 << 20}))
		s.is(c.SetLimits(s.ctx, container.Limits{MemoryBytes: -1}), container.ErrInvalid)
		equal(s, "limits", s.info(c).Limits, container.Limits{MemoryBytes: 256 << 20})
		return
	}
	s.must(c.SetLimits(s.ctx, limits))
	equal(s, "limits", s.info(c).Limits, limits)
	s.must(c.SetLimits(s.ctx, container.Limits{MemoryBytes: 128 << 20})) // lower
	equal(s, "limits", s.info(c).Limits, container.Limits{MemoryBytes: 128 << 20})
	s.is(c.SetLimits(s.ctx, container.Limits{MemoryBytes: -1}), container.ErrInvalid)
	equal(s, "limits after an invalid request", s.info(c).Limits.MemoryBytes, 128<<20)
}

func limit(n uint64) *uint64 { return &n }

// openFiles returns the limits of open files that a process sees.
func (s *suite) openFiles(c container.Container, r container.Rlimits) (soft, hard uint64) {
	s.Helper()
	spec := s.helper(c, "rlimits")
	spec.Rlimits = r
	fields := strings.Fields(s.output(c, spec))
	if len(fields) != 2 {
		s.Fatalf("limits: %q (does TestMain call containertest.Helper?)", fields)
	}
	parse := func(text string) uint64 {
		if text == "unlimited" {
			return ^uint64(0)
		}
		n, err := strconv.ParseUint(text, 10, 64)
		s.must(err)
		return n
	}
	return parse(fields[0]), parse(fields[1])
}

func testOpenFiles(s *suite) {
	c := s.create(container.Spec{})
	soft, hard := s.openFiles(c, container.Rlimits{})
	s2, h2 := s.openFiles(c, container.Rlimits{NoFile: limit(123)})
	equal(s, "soft limit", s2, 123)
	equal(s, "hard limit", h2, 123)
	_, h3 := s.openFiles(c, container.Rlimits{NoFile: limit(1 << 60)})
	if h3 < hard {
		s.Errorf("a limit that is too high became %d, less than the %d that the back end gives", h3, hard)
	}
	again, _ := s.openFiles(c, container.Rlimits{})
	equal(s, "soft limit of the next process", again, soft)
}

func testFileSize(s *suite) {
	c := s.create(container.Spec{})
	spec := script("head -c 200000 /dev/zero >big")
	spec.Rlimits.FSize = limit(70001) // of no block size a multiple
	r := s.run(c, spec)
	equal(s, "exit status of the shell", r.status, 128+container.ExitStatus(syscall.SIGXFSZ))
	equal(s, "size", strings.TrimSpace(s.output(c, script("wc -c <big"))), "70001")
}

func testAllRlimits(s *suite) {
	c := s.create(container.Spec{})
	spec := script("ulimit -c; ulimit -t; ulimit -s; ulimit -v")
	spec.Rlimits = container.Rlimits{
		NProc: limit(4000), Core: limit(0), CPU: limit(3600), Stack: limit(4 << 20), AS: limit(4 << 30),
	}
	equal(s, "limits", s.output(c, spec), "0\n3600\n4096\n4194304\n")
}

func testOutOfMemory(s *suite) {
	c := s.create(container.Spec{Limits: container.Limits{MemoryBytes: 96 << 20}})
	var out safeBuffer
	small, err := c.Run(s.ctx, s.helper(c, fmt.Sprintf("eat %d", 8<<20)), container.IO{Stdout: &out})
	s.must(err)
	s.eventually("a process within the limit runs", func() bool { return out.String() == "ate\n" })
	equal(s, "events", len(s.info(c).Events), 0)

	big := s.start(c, s.helper(c, fmt.Sprintf("eat %d", 256<<20)))
	if s.caps.Memory == container.NotEnforced {
		s.must(c.Stop(s.ctx, true))
		equal(s, "events", len(s.info(c).Events), 0)
		return
	}
	if status := s.wait(big); status == 0 {
		s.Error("a process above the limit ended well")
	}
	s.eventually("the event", func() bool { return slices.Equal(s.info(c).Events, []string{container.EventOutOfMemory}) })
	s.eventually("the container is stopped", func() bool { return s.info(c).State == container.StateStopped })
	s.wait(small)
	_, err = c.Run(s.ctx, script("true"), container.IO{})
	s.is(err, container.ErrStopped)
}

func (s *suite) usage(c container.Container) container.Usage {
	s.Helper()
	u, err := c.Usage(s.ctx)
	s.must(err)
	return u
}

func testUsage(s *suite) {
	c := s.create(container.Spec{})
	before := s.usage(c)
	equal(s, "processes", before.Processes, 0)
	var out safeBuffer
	p, err := c.Run(s.ctx, s.helper(c, fmt.Sprintf("eat %d", 64<<20)), container.IO{Stdout: &out})
	s.must(err)
	s.eventually("eaten", func() bool { return out.String() == "ate\n" })
	s.output(c, script("head -c 4194304 /dev/zero >big; ln big same"))
	during := s.usage(c)
	if during.Processes < 1 {
		s.Errorf("%d processes", during.Processes)
	}
	if during.MemoryBytes < 64<<20 || during.MemoryBytes > 256<<20 {
		s.Errorf("memory: %d bytes, while a process holds %d", during.MemoryBytes, 64<<20)
	}
	if grown := during.DiskBytes - before.DiskBytes; grown < 4<<20 || grown > 7<<20 {
		s.Errorf("disk grew by %d bytes, %d were written", grown, 4<<20)
	}
	if during.At.Before(before.At) {
		s.Error("time went back")
	}

	// Processor time counts also after the process that used it has ended; here a child of a child.
	s.output(c, script("(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); exit 0"))
	after := s.usage(c)
	if after.CPUTime <= during.CPUTime {
		s.Errorf("processor time went from %v to %v", during.CPUTime, after.CPUTime)
	}
	s.must(c.Stop(s.ctx, true))
	s.signalled(s.wait(p), 9)
	stopped := s.usage(c)
	equal(s, "processes", stopped.Processes, 0)
	if stopped.CPUTime < after.CPUTime {
		s.Errorf("processor time went from %v to %v", after.CPUTime, stopped.CPUTime)
	}
}
