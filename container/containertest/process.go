package containertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/deakit/deakit/container"
)

var runTests = []test{
	{"ExitStatus", testExitStatus},
	{"DeathBySignal", testDeathBySignal},
	{"Arguments", testArguments},
	{"Environment", testEnvironment},
	{"BadEnvironment", testBadEnvironment},
	{"Directory", testDirectory},
	{"CannotStart", testCannotStart},
	{"OutlivesContext", testOutlivesContext},
	{"Wait", testWait},
	{"Signal", testSignal},
	{"Processes", testProcesses},
}

func testExitStatus(s *suite) {
	c := s.create(container.Spec{})
	next := make(chan int)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for want := range next {
				p, err := c.Run(s.ctx, script(fmt.Sprintf("exit %d", want)), container.IO{})
				if err != nil {
					s.Error(err)
					continue
				}
				if got, err := p.Wait(s.ctx); err != nil || int(got) != want {
					s.Errorf("exit %d: status %d, error %v", want, got, err)
				}
			}
		})
	}
	for status := range 256 {
		next <- status
	}
	close(next)
	wg.Wait()
}

func testDeathBySignal(s *suite) {
	c := s.create(container.Spec{})
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGUSR1} {
		s.signalled(s.run(c, script(fmt.Sprintf("kill -%d $$", sig))).status, int(sig))
	}
}

func testArguments(s *suite) {
	c := s.create(container.Spec{})
	args := []string{"", "a b", "$HOME `id` \\ ' \"", "line\nbreak", "-n", "ü"}
	if binary := script("true", "\xff"); s.cfg.Tolerances.TextOnly {
		_, err := c.Run(s.ctx, binary, container.IO{})
		s.is(err, container.ErrUnsupported)
	} else {
		args = append(args, "\xff")
	}
	got := s.output(c, script(`for a; do printf '<%s>' "$a"; done`, args...))
	equal(s, "arguments", got, "<"+strings.Join(args, "><")+">")
}

func testEnvironment(s *suite) {
	s.Setenv("CONTAINERTEST_LEAK", "of the back end")
	c := s.create(container.Spec{Env: []string{"SHARED=spec", "BOTH=spec", "TWICE=1", "EMPTY=", "odd.name=kept"}})
	spec := container.ProcessSpec{Path: "env", Env: []string{"BOTH=process", "TWICE=2", "TWICE=3", "EQ=a=b c"}}

	environ := func(spec container.ProcessSpec) []string {
		var own []string
		for line := range strings.Lines(s.output(c, spec)) {
			if !strings.HasPrefix(line, "DEAKIT_") { // a back end may leave its mark
				own = append(own, strings.TrimSuffix(line, "\n"))
			}
		}
		slices.Sort(own)
		return own
	}
	want := []string{
		"BOTH=process", "EMPTY=", "EQ=a=b c", "HOME=" + s.info(c).Inside(container.AppHome), "LANG=en_US.UTF-8",
		"PATH=/usr/local/bin:/usr/bin:/bin", "SHARED=spec", "TWICE=3", "USER=vcap", "odd.name=kept",
	}
	if got := environ(spec); !slices.Equal(got, want) {
		s.Errorf("environment\n got %q\nwant %q", got, want)
	}

	spec.Env = []string{"HOME=/tmp", "LANG=C", "USER=x", "PATH=/bin:/usr/bin:/opt"}
	got := environ(spec)
	for _, entry := range spec.Env {
		if !slices.Contains(got, entry) {
			s.Errorf("%q is missing in %q", entry, got)
		}
	}
}

func testBadEnvironment(s *suite) {
	c := s.create(container.Spec{})
	for _, entry := range []string{"secret", "=x", "A=b\x00c"} {
		_, err := s.b.Create(s.ctx, container.Spec{Env: []string{entry}, RootFS: s.cfg.RootFS})
		s.is(err, container.ErrInvalid)
		_, err = c.Run(s.ctx, container.ProcessSpec{Path: "env", Env: []string{entry}}, container.IO{})
		s.is(err, container.ErrInvalid)
	}
}

func testDirectory(s *suite) {
	c := s.create(container.Spec{})
	info := s.info(c)
	s.output(c, script("mkdir sub"))
	for dir, want := range map[string]string{
		"":                 "/home/vcap",
		"/tmp":             "/tmp",
		"/home/vcap/sub/.": "/home/vcap/sub",
		"/home/../tmp/":    "/tmp",
	} {
		spec := script("pwd -P")
		spec.Dir = dir
		equal(s, "directory", s.output(c, spec), info.Inside(want)+"\n")
	}
	// In home and temporary directory, apps can write.
	s.output(c, script("echo x >here && echo x >\"$1\"/there", info.Inside("/tmp")))
}

func testCannotStart(s *suite) {
	c := s.create(container.Spec{})
	info := s.info(c)
	s.output(c, script("echo x >data; echo x >plain"))
	noDir := script("true")
	noDir.Dir = "/does/not/exist"
	fileDir := script("true")
	fileDir.Dir = "/home/vcap/data"
	for name, spec := range map[string]container.ProcessSpec{
		"no such absolute path": {Path: "/does/not/exist"},
		"no such name":          {Path: "does-not-exist"},
		"not executable":        {Path: info.Inside("/home/vcap/plain")},
		"a directory":           {Path: info.Inside("/home/vcap")},
		"no such directory":     noDir,
		"directory is a file":   fileDir,
	} {
		p, err := c.Run(s.ctx, spec, container.IO{})
		if err != nil {
			continue
		}
		if status := s.wait(p); !s.cfg.Tolerances.LateStartErrors || status == 0 {
			s.Errorf("%s: started, exit status %d", name, status)
		}
	}
	equal(s, "afterwards", s.output(c, script("echo fine")), "fine\n")
}

func testOutlivesContext(s *suite) {
	c, num := s.create(container.Spec{}), token()
	ctx, cancel := context.WithCancel(s.ctx)
	var out safeBuffer
	p, err := c.Run(ctx, script("sleep "+num+" & echo $$; wait"), container.IO{Stdout: &out})
	s.must(err)
	cancel()
	s.eventually("output after the context ended", func() bool { return out.String() != "" })
	s.appears(num, 1)
	_, err = p.Wait(ctx)
	s.is(err, context.Canceled)
	s.must(c.Stop(s.ctx, true))
	s.signalled(s.wait(p), 9)
	s.gone(num)

	_, err = s.create(container.Spec{}).Run(ctx, script("true"), container.IO{})
	s.is(err, context.Canceled)
}

func testWait(s *suite) {
	c := s.create(container.Spec{})
	p := s.start(c, script("exit 3"))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if status, err := p.Wait(s.ctx); err != nil || status != 3 {
				s.Errorf("exit status %d, error %v", status, err)
			}
		})
	}
	wg.Wait()
	equal(s, "exit status, asked again", s.wait(p), 3)
	s.must(c.Destroy(s.ctx))
	equal(s, "exit status after Destroy", s.wait(p), 3)
}

func testSignal(s *suite) {
	c, num := s.create(container.Spec{}), token()
	var out safeBuffer
	p, err := c.Run(s.ctx, script("trap 'echo usr1' USR1; sleep "+num+" & echo ready; wait; wait"), container.IO{Stdout: &out})
	s.must(err)
	s.eventually("ready", func() bool { return out.String() == "ready\n" })
	s.appears(num, 1)
	if s.cfg.Tolerances.NoSignal {
		s.is(p.Signal(s.ctx, syscall.SIGTERM), container.ErrUnsupported)
		return
	}
	if s.cfg.Tolerances.FewSignals {
		s.is(p.Signal(s.ctx, syscall.SIGUSR1), container.ErrUnsupported)
		s.must(p.Signal(s.ctx, syscall.SIGTERM))
		s.endedBy(p, 15)
		s.gone(num)
		s.must(p.Signal(s.ctx, syscall.SIGKILL)) // of what has ended
		return
	}
	// The shell handles it; the other process of the group dies of it.
	s.must(p.Signal(s.ctx, syscall.SIGUSR1))
	equal(s, "exit status", s.wait(p), 0)
	equal(s, "output", out.String(), "ready\nusr1\n")
	s.gone(num)
	s.must(p.Signal(s.ctx, syscall.SIGKILL)) // of what has ended
}

func testProcesses(s *suite) {
	c := s.create(container.Spec{})
	first := s.start(c, container.ProcessSpec{Path: "sleep", Args: []string{token()}})
	second := s.start(c, script("true"))
	equal(s, "first id", first.ID(), 1)
	equal(s, "second id", second.ID(), 2)
	s.wait(second)
	s.eventually("only the first is listed", func() bool { return slices.Equal(s.info(c).Processes, []uint32{1}) })

	other := s.create(container.Spec{})
	equal(s, "id in another container", s.start(other, script("true")).ID(), 1)
	root := script("echo $USER")
	root.User = "root" // with its privileges as far as there are any
	equal(s, "user", s.output(other, root), "root\n")
}
