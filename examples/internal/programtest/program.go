// Package programtest runs binaries in their tests.
package programtest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/hostport"
	"github.com/deakit/deakit/internal/testapp"
)

// Patience is how long a test waits for what must come.
const Patience = 30 * time.Second

// asProgram makes a test binary the program itself.
const asProgram = "TEST_AS_PROGRAM"

// Main is for TestMain: the test binary is an app where a test wants one, or the program, which run is, or else runs the tests, with
// after at the end, which may be nil.
func Main(m *testing.M, run func(args []string) int, after func()) {
	testapp.Main()
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args[1:]))
	}
	code := m.Run()
	if after != nil {
		after()
	}
	os.Exit(code)
}

// A Program is a run of a binary. It ends with the test at the latest.
type Program struct {
	t      testing.TB
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has
	code   int           // valid then
	mu     sync.Mutex
	output bytes.Buffer
}

// Start runs the program under test.
func Start(t testing.TB, args ...string) *Program {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return Launch(t, self, args...)
}

// Launch runs any binary.
func Launch(t testing.TB, binary string, args ...string) *Program {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return Run(t, cmd)
}

// Run runs a command. One that leads a process group is ended with the group.
func Run(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	p := &Program{t: t, cmd: cmd, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.ended)
	}()
	signal := cmd.Process.Signal
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Setpgid {
		signal = func(s os.Signal) error { return syscall.Kill(-cmd.Process.Pid, s.(syscall.Signal)) }
	}
	t.Cleanup(func() {
		_ = signal(syscall.SIGTERM) // a kill would leave the apps of a DEA
		select {
		case <-p.ended:
		case <-time.After(Patience):
			_ = signal(syscall.SIGKILL)
			<-p.ended
		}
		if t.Failed() {
			t.Log(p.Text())
		}
	})
	return p
}

// Write takes what the program says.
func (p *Program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

// Text is what it has said, on both outputs.
func (p *Program) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// Says waits until the program has said a text.
func (p *Program) Says(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.Text(), text) }, Patience, 2*time.Millisecond, "%s in\n%s", text, p.Text())
}

// PID is the id of its process.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the program, which has not ended.
func (p *Program) Signal(s syscall.Signal) { require.NoError(p.t, p.cmd.Process.Signal(s)) }

// Insist sends a signal again and again until the program ends.
func (p *Program) Insist(s syscall.Signal) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		_ = p.cmd.Process.Signal(s)
		select {
		case <-p.ended:
			return
		case <-again.C:
		}
	}
}

// Kill is kill -9.
func (p *Program) Kill() {
	require.NoError(p.t, p.cmd.Process.Kill())
	<-p.ended
}

// Ended tells whether the program has ended.
func (p *Program) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// End waits until the program has ended, and returns its exit code.
func (p *Program) End() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(Patience):
		p.t.Fatal("it does not end:\n", p.Text())
		return -1
	}
}

// FreePort holds a port, for the length of the test, from all who draw ports this way, and from outgoing connections.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := hostport.NewPool(hostport.Default()).Draw()
	require.NoError(t, err)
	t.Cleanup(port.Release)
	return int(port.Number())
}
