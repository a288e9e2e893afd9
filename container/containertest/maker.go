package containertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/deakit/deakit/container"
)

// A maker is a process that makes containers and is killed: this test binary, running the same test as the suite. What
// stands for it in the environment is the name of one of the survival tests and the directory that it shares with it.
const (
	makerEnv    = "CONTAINERTEST_MAKER"
	makerDirEnv = "CONTAINERTEST_MAKER_DIR"
	makerPrefix = "containertest estate: "
)

// An estate is what a maker tells those who come after it.
type estate struct {
	Handles   []string
	Info      container.Info // of the first container
	Processes []uint32       // in the first container
	Token     string
	Makers    int // so far
}

// A survivalTest has some back ends make containers, one after the other on the same directory; each is killed when its
// function has returned. Then something may happen while there is no back end, and a last one is looked at.
type survivalTest struct {
	name      string
	makers    []func(*suite, *estate)
	meanwhile func(*suite, *estate)
	check     func(*suite, *estate)
}

// survive runs the tests of containers that outlive their makers.
func survive(t *testing.T, cfg Config) {
	if cfg.Open == nil {
		t.Fatal("containertest: Config.Open is missing, and the back end says that containers survive")
	}
	for _, tc := range survivalTests {
		t.Run(tc.name, func(t *testing.T) {
			s := &suite{T: t, cfg: cfg, dir: t.TempDir()}
			ctx, cancel := context.WithTimeout(context.Background(), cfg.Patience)
			t.Cleanup(cancel)
			s.ctx = ctx
			s.must(os.Chmod(s.dir, 0o755))
			s.must(os.Mkdir(s.shared(), 0o777))
			s.must(os.Chmod(s.shared(), 0o777))
			e := &estate{Token: token()}
			for range tc.makers {
				s.makeAndKill(tc.name, e)
				e.Makers++
			}
			if tc.meanwhile != nil {
				tc.meanwhile(s, e)
			}
			s.open()
			tc.check(s, e)
			for _, c := range s.all() {
				s.must(c.Destroy(s.ctx))
			}
			s.gone(e.Token)
		})
	}
}

func (s *suite) open() {
	s.b = s.cfg.Open(s.T, filepath.Join(s.dir, "state"))
	s.caps = s.b.Capabilities()
}

// shared is a directory of the host for makers, containers and tests.
func (s *suite) shared() string { return filepath.Join(s.dir, "shared") }

// makeAndKill runs a maker until it has done its work, and kills it.
func (s *suite) makeAndKill(name string, e *estate) {
	s.Helper()
	parts := strings.Split(rootOf(s.Name()), "/")
	for i := range parts {
		parts[i] = "^" + regexp.QuoteMeta(parts[i]) + "$"
	}
	cmd := exec.CommandContext(s.ctx, executable(s.T), "-test.run="+strings.Join(parts, "/"))
	cmd.Env = append(os.Environ(), makerEnv+"="+name, makerDirEnv+"="+s.dir)
	// It ends when this pipe does, should this process end before it.
	stdin, err := cmd.StdinPipe()
	s.must(err)
	stdout, err := cmd.StdoutPipe()
	s.must(err)
	var errors safeBuffer
	cmd.Stderr = &errors
	s.must(cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	text, err := json.Marshal(e)
	s.must(err)
	_, err = stdin.Write(append(text, '\n'))
	s.must(err)

	var other bytes.Buffer
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), makerPrefix); ok {
			s.must(json.Unmarshal([]byte(text), e))
			return
		}
		other.WriteString(lines.Text() + "\n")
	}
	s.Fatalf("the maker failed: %s%s", other.String(), errors.String())
}

// rootOf is the name of the test that called Run, given that of a survival test.
func rootOf(name string) string {
	return strings.TrimSuffix(name[:strings.LastIndex(name, "/")], "/Survive")
}

// beMaker does the work of a maker, and waits to be killed. It does not return.
func beMaker(t *testing.T, cfg Config, name string) {
	s := &suite{T: t, cfg: cfg, dir: os.Getenv(makerDirEnv), ctx: context.Background()}
	in := bufio.NewReader(os.Stdin)
	text, err := in.ReadString('\n')
	s.must(err)
	var e estate
	s.must(json.Unmarshal([]byte(text), &e))
	s.open()
	for _, tc := range survivalTests {
		if tc.name == name {
			tc.makers[e.Makers](s, &e)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	answer, err := json.Marshal(e)
	s.must(err)
	_, err = os.Stdout.WriteString(makerPrefix + string(answer) + "\n")
	s.must(err)
	_, _ = in.ReadByte() // for ever
	os.Exit(1)
}

// inherited returns one of the containers of the estate, and its description.
func (s *suite) inherited(e *estate, n int) (container.Container, container.Info) {
	s.Helper()
	c, err := s.b.Lookup(s.ctx, e.Handles[n])
	s.must(err)
	return c, s.info(c)
}

// attached returns one of the processes of the first container of the estate.
func (s *suite) attached(e *estate, n int) container.Process {
	s.Helper()
	c, _ := s.inherited(e, 0)
	p, err := c.Attach(s.ctx, e.Processes[n], container.IO{})
	s.must(err)
	equal(s, "id", p.ID(), e.Processes[n])
	return p
}

// all returns all containers.
func (s *suite) all() []container.Container {
	s.Helper()
	var list []container.Container
	for _, handle := range s.handles() {
		c, err := s.b.Lookup(s.ctx, handle)
		s.must(err)
		list = append(list, c)
	}
	return list
}
