package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// asProgram makes the test binary the program itself, so that it runs as a process of its own, with signals and a user.
const asProgram = "DEAKIT_DROPLET_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// nobody is the user of the name and, as a rule, its group.
const nobody = 65534

// A desk is where somebody uses the program: a home, and a directory for temporary files, which is empty in the end.
type desk struct {
	t    *testing.T
	exe  string
	dir  string
	uid  int // 0: as whoever runs the test
	vars []string
}

// newDesk is one of the user that runs the test, which goes on beside others.
func newDesk(t *testing.T) *desk {
	t.Helper()
	t.Parallel()
	exe, err := os.Executable()
	require.NoError(t, err)
	d := &desk{t: t, exe: exe, dir: t.TempDir()}
	d.lay()
	return d
}

// newDeskOfNobody is newDesk for an ordinary user. It needs root.
func newDeskOfNobody(t *testing.T) *desk {
	t.Helper()
	t.Parallel()
	needs.Root(t)
	dir, err := os.MkdirTemp("", "nobody-") // those of the test are for root alone
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	d := &desk{t: t, exe: filepath.Join(dir, "droplet"), dir: filepath.Join(dir, "desk"), uid: nobody}
	require.NoError(t, os.Mkdir(d.dir, 0o755))
	exe, err := os.Executable()
	require.NoError(t, err)
	copyFile(t, exe, d.exe)
	d.lay()
	return d
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

func (d *desk) lay() {
	for _, name := range []string{"", "tmp", "home"} {
		path := filepath.Join(d.dir, name)
		require.NoError(d.t, os.MkdirAll(path, 0o755))
		if d.uid != 0 {
			require.NoError(d.t, os.Chown(path, d.uid, d.uid))
		}
	}
	// Containers of the back end runc have users of their own, who must reach what is shown to them.
	d.vars = []string{
		"HOME=" + d.path("home"), "TMPDIR=" + d.path("tmp"), "PATH=" + os.Getenv("PATH"), asProgram + "=1",
	}
	d.t.Cleanup(d.nothingLeft)
}

func (d *desk) path(names ...string) string {
	return filepath.Join(append([]string{d.dir}, names...)...)
}

// file writes a file with its directories, executable where it is a script.
func (d *desk) file(name, content string) string {
	d.t.Helper()
	path := d.path(name)
	require.NoError(d.t, os.MkdirAll(filepath.Dir(path), 0o755))
	mode := os.FileMode(0o644)
	if strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	require.NoError(d.t, os.WriteFile(path, []byte(content), mode))
	return path
}

// pack makes a buildpack of scripts: pairs of a name and what the shell does.
func (d *desk) pack(name string, scripts ...string) string {
	d.t.Helper()
	for i := 0; i < len(scripts); i += 2 {
		d.file(name+"/bin/"+scripts[i], "#!/bin/sh\n"+scripts[i+1]+"\n")
	}
	return d.path(name)
}

// nothingLeft checks that the program left nothing but what it was asked for.
func (d *desk) nothingLeft() {
	entries, err := os.ReadDir(d.path("tmp"))
	assert.NoError(d.t, err)
	for _, e := range entries {
		assert.Failf(d.t, "left over", "%s in the directory for temporary files", e.Name())
	}
	_ = filepath.WalkDir(d.dir, func(path string, _ os.DirEntry, _ error) error {
		assert.NotContains(d.t, filepath.Base(path), ".incoming-", "a file that was not finished")
		return nil
	})
	for _, p := range processesBelow(d.dir) {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid))
		assert.Failf(d.t, "left over", "process %d runs on: %s", p.Pid, bytes.ReplaceAll(command, []byte{0}, []byte(" ")))
		_ = p.Kill() // a test that fails leaves nothing either
	}
}

// processesBelow lists the processes whose environment names a directory of a test.
func processesBelow(dir string) (found []*os.Process) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range dirs {
		env, err := os.ReadFile(filepath.Join(name, "environ"))
		pid, notANumber := strconv.Atoi(filepath.Base(name))
		if err != nil || notANumber != nil || !bytes.Contains(env, []byte(dir)) {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			found = append(found, p)
		}
	}
	return found
}

// A program is one run of the program under way.
type program struct {
	*exec.Cmd
	t        *testing.T
	out, err *record
	ended    chan error
}

// start starts the program with arguments.
func (d *desk) start(args ...string) *program {
	d.t.Helper()
	return d.startAt(d.dir, nil, args...)
}

// startIn is start in another directory.
func (d *desk) startIn(dir string, args ...string) *program {
	d.t.Helper()
	return d.startAt(d.path(dir), nil, args...)
}

// startTo is start with standard output to out.
func (d *desk) startTo(out *os.File, args ...string) *program {
	d.t.Helper()
	return d.startAt(d.dir, out, args...)
}

func (d *desk) startAt(dir string, out *os.File, args ...string) *program {
	d.t.Helper()
	p := &program{Cmd: exec.Command(d.exe, args...), t: d.t, out: &record{}, err: &record{}, ended: make(chan error, 1)}
	p.Dir, p.Env, p.Stdout, p.Stderr = dir, d.vars, p.out, p.err
	if out != nil {
		p.Stdout = out
	}
	if d.uid != 0 {
		p.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(d.uid), Gid: uint32(d.uid)}}
	}
	require.NoError(d.t, p.Start())
	go func() { p.ended <- p.Wait() }()
	d.t.Cleanup(func() { _ = p.Process.Kill() })
	return p
}

// wait returns the exit code.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		if err == nil {
			return 0
		}
		var status *exec.ExitError
		require.ErrorAs(p.t, err, &status)
		return status.ExitCode()
	case <-time.After(patience):
		require.Failf(p.t, "the program does not end", "%s\n%s", p.out, p.err)
		return 0
	}
}

// saw waits until the program has written a text to either stream.
func (p *program) saw(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		return strings.Contains(p.out.String(), text) || strings.Contains(p.err.String(), text)
	}, patience, 5*time.Millisecond, "%q\n%v\n%v", text, p.out, p.err)
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.Process.Signal(s))
}

// run runs the program to its end.
func (d *desk) run(args ...string) (code int, out, errs string) {
	d.t.Helper()
	p := d.start(args...)
	code = p.wait()
	return code, p.out.String(), p.err.String()
}

// succeeds runs the program and returns what it wrote to standard output.
func (d *desk) succeeds(args ...string) string {
	d.t.Helper()
	code, out, errs := d.run(args...)
	require.Equal(d.t, exitOK, code, "%q: %s%s", args, out, errs)
	return out
}

// told reads JSON.
func told[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

// A record keeps what is written to it, for others to read meanwhile.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
