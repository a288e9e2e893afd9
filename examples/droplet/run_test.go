package main

import (
	"encoding/json"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/staging/framework"
)

// dropletOf writes a droplet with process types.
func (d *desk) dropletOf(types map[string]string) string {
	d.t.Helper()
	text, err := json.Marshal(map[string]any{"start_command": types["web"], "effective_procfile": types}) // which YAML is
	require.NoError(d.t, err)
	d.archive("x.tgz", member("./staging_info.yml", string(text)), member("./app/a", ""))
	return "x.tgz"
}

// listen is a command that listens at the port that it is given and prints a line.
const listen = `exec python3 -c 'import os,socket,time
s=socket.socket(); s.bind(("0.0.0.0",int(os.environ["PORT"]))); s.listen(); print("listens", flush=True); time.sleep(1000)'`

func TestHowAppsEnd(t *testing.T) {
	needs.Tool(t, "python3", "python3")
	d := newDesk(t)
	d.dropletOf(map[string]string{
		"web": "sleep 1000", "done": "echo done", "fails": "echo out; echo err >&2; exit 42",
		"hog": "exec python3 -c 'import time; x=bytearray(200<<20); time.sleep(1000)'",
	})
	for name, tc := range map[string]struct {
		args []string
		code int
		out  string
		text string
	}{
		"done":            {[]string{"-t", "done"}, exitOK, "done\n", ""},
		"fails":           {[]string{"-t", "fails"}, 42, "out\n", "err\n"},
		"killed":          {[]string{"-c", "kill -9 $$"}, 137, "", "status 137"},
		"before it is up": {[]string{"-c", "exit 5"}, 5, "", "status 5"},
		"never up":        {[]string{"--timeout", "1s"}, exitNotStarted, "", "--health-check none"},
		"unknown type":    {[]string{"-t", "nope"}, exitUsage, "", "it has done, fails, hog, web;"},
		"memory":          {[]string{"-t", "hog", "-m", "64"}, 137, "", "out of memory\ndroplet: to give it more: --memory"},
		"odd variable":    {[]string{"-e", "A B=secret"}, exitUsage, "", `"A B" is no name of a variable`},
		"no stack":        {[]string{"--stack", "x=/"}, exitUsage, "", "no root file system but"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := d.run(append([]string{"run", "x.tgz", "--backend", "process"}, tc.args...)...)
			assert.Equal(t, tc.code, code, errs)
			assert.Equal(t, tc.out, out)
			assert.Contains(t, errs, tc.text)
		})
	}
}

func TestDropletsOfTheOldKind(t *testing.T) {
	d := newDesk(t)
	d.archive("old.tgz", member("./startup", "#!/bin/sh\necho started by startup\nexit 6\n"), member("./app/a", ""))
	code, out, _ := d.run("run", "old.tgz", "--backend", "process")
	assert.Equal(t, 6, code)
	assert.Equal(t, "started by startup\n", out)
	assert.Contains(t, d.succeeds("inspect", "old.tgz"), "./startup")
	d.archive("none.tgz", member("./app/a", ""))
	code, _, errs := d.run("run", "none.tgz", "--backend", "process")
	assert.Equal(t, exitDroplet, code, "nothing tells how to start it")
	assert.Contains(t, errs, "none.tgz: no droplet: it has neither staging_info.yml nor ./startup")
	code, _, errs = d.run("run", "old.tgz", "--process", "worker", "--backend", "process")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errs, "no process types")
}

// A droplet of a framework says which one that is, and so what its startup script leaves open.
func TestRuntimes(t *testing.T) {
	needs.Tool(t, "python3", "python3")
	d := newDesk(t)
	startup := member("./startup", "#!/bin/sh\nexec %VCAP_LOCAL_RUNTIME% -c 'import sys; sys.exit(6)'\n")
	made := member("./staging_info.yml", "detected_buildpack: wsgi\nstart_command: "+strconv.Quote(framework.StartCommand)+"\n")
	d.archive("wsgi.tgz", made, startup, member("./app/a", ""))
	shown := d.succeeds("inspect", "wsgi.tgz")
	assert.Regexp(t, `framework +wsgi\nruntime +python2, or what droplet run --runtime names\n`, shown)
	var report map[string]any
	require.NoError(t, json.Unmarshal([]byte(d.succeeds("inspect", "wsgi.tgz", "--json")), &report))
	assert.Equal(t, []any{"wsgi", "python2"}, []any{report["framework"], report["runtime"]})
	d.archive("untold.tgz", startup, member("./app/a", ""))
	for _, args := range [][]string{{"wsgi.tgz"}, {"untold.tgz", "--runtime", "python2"}} {
		code, _, errs := d.run(append([]string{"run", "--backend", "process"}, args...)...)
		assert.Equal(t, 6, code, errs)
	}
	code, _, errs := d.run("run", "untold.tgz", "--backend", "process")
	assert.Equal(t, exitNotStarted, code)
	assert.Contains(t, errs, "nothing tells of which framework it is\ndroplet: name a runtime: --runtime")
	code, _, errs = d.run("run", "wsgi.tgz", "--runtime", "cobol68", "--backend", "process")
	assert.Equal(t, exitNotStarted, code)
	assert.Contains(t, errs, "cobol68")
	assert.Contains(t, errs, "to take another runtime: --runtime")
}

func TestPorts(t *testing.T) {
	needs.Tool(t, "python3", "python3")
	d := newDesk(t)
	d.dropletOf(map[string]string{"web": listen})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	code, _, errs := d.run("run", "x.tgz", "--port", port, "--backend", "process")
	assert.Equal(t, exitNotStarted, code)
	assert.Contains(t, errs, port)
	assert.Contains(t, errs, "in use")
	assert.Contains(t, errs, "to take another port: --port")
	require.NoError(t, taken.Close())
	p := d.start("run", "x.tgz", "-p", port, "--backend", "process", "--json")
	p.saw(`{"event":"up","url":"http://127.0.0.1:` + port + `/"`)
	p.saw(`{"event":"log","stream":"stdout","text":"listens"}`)
	p.signal(syscall.SIGTERM)
	assert.Equal(t, exitSignal, p.wait())
	lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
	require.GreaterOrEqual(t, len(lines), 4)
	assert.Contains(t, lines[len(lines)-2], `{"event":"ended"`)
	assert.Equal(t, `{"error":{"exit_code":130,"message":"ended by a signal"}}`, lines[len(lines)-1])
}

func TestSignalsWhileAnAppRuns(t *testing.T) {
	d := newDesk(t)
	d.dropletOf(map[string]string{
		"web":    "echo starting; sleep 1000",
		"worker": "trap 'echo bye; exit 0' TERM; echo working; while :; do sleep 0.05; done",
		"deaf":   "trap '' TERM; echo working; while :; do sleep 0.05; done",
	})
	p := d.start("run", "x.tgz", "--backend", "process")
	p.saw("starting\n")
	p.signal(os.Interrupt)
	assert.Equal(t, exitSignal, p.wait(), "before it is up")

	p = d.start("run", "x.tgz", "--backend", "process", "-t", "worker")
	p.saw("working\n")
	p.signal(os.Interrupt)
	assert.Equal(t, exitSignal, p.wait())
	assert.Contains(t, p.out.String(), "bye\n", "it was asked to end, and its last words are shown")
	d.nothingLeft()

	p = d.start("run", "x.tgz", "--backend", "process", "-t", "deaf")
	p.saw("working\n")
	p.signal(os.Interrupt)
	require.Eventually(t, func() bool { // one of those that follow comes when the first was taken
		return p.Process.Signal(os.Interrupt) != nil
	}, patience, 10*time.Millisecond)
	assert.Equal(t, -1, p.wait(), "the second signal ends the program at once")
	d.succeeds("run", "x.tgz", "--backend", "process", "-c", "true", "--health-check", "none") // which cleans up behind it
}

// TestNobodyReads ends the reader of standard output, as head does.
func TestNobodyReads(t *testing.T) {
	d := newDesk(t)
	d.dropletOf(map[string]string{"web": "", "worker": "while :; do echo line; sleep 0.01; done"})
	read, write, err := os.Pipe()
	require.NoError(t, err)
	p := d.startTo(write, "run", "x.tgz", "--backend", "process", "-t", "worker")
	require.NoError(t, write.Close())
	buf := make([]byte, 5)
	_, err = read.Read(buf)
	require.NoError(t, err)
	require.NoError(t, read.Close())
	assert.Equal(t, exitSignal, p.wait())
}

// TestFullDisk writes to a file system that has no room.
func TestFullDisk(t *testing.T) {
	needs.Root(t)
	d := newDesk(t)
	small := d.path("small")
	require.NoError(t, os.Mkdir(small, 0o755))
	require.NoError(t, syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(small, 0)) })
	d.file("app/x", "")
	pack := d.pack("bp", "compile", "head -c 4000000 /dev/urandom >$1/random", "release", "echo 'default_process_types: {web: true}'")
	code, _, errs := d.run("stage", "app", "-b", pack, "-o", "small/droplet.tgz", "--backend", "process")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errs, "no space left on device")
	d.succeeds("stage", "app", "-b", pack, "--backend", "process")
	code, _, errs = d.run("repack", "droplet.tgz", "-o", "small/droplet.tgz")
	assert.Equal(t, exitFailed, code, errs)
	entries, err := os.ReadDir(small)
	require.NoError(t, err)
	assert.Empty(t, entries)

	vars := d.vars
	d.vars = append(vars, "TMPDIR="+small)
	code, _, errs = d.run("stage", "app", "-b", pack, "--backend", "process", "--no-cache")
	assert.Equal(t, exitBuildpack, code, "it is the buildpack that meets the end of the disk")
	assert.Contains(t, errs, "o space left on device")
	code, _, errs = d.run("run", "droplet.tgz", "--backend", "process")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errs, "no space left on device")
	entries, err = os.ReadDir(small)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// TestInContainers stages and runs in containers that confine.
func TestInContainers(t *testing.T) {
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
	needs.Tool(t, "python3", "python3")
	d := newDesk(t)
	d.file("app/Procfile", "web: "+strings.ReplaceAll("exec python3 -u -m http.server $PORT", "\n", " ")+"\n")
	report := told[stagingJSON](t, d.succeeds("stage", "app", "--backend", "runc", "--json"))
	assert.Equal(t, "runc", report.Backend)
	closed, err := os.MkdirTemp("/var/tmp", "closed-") // to all but root
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(closed)) })
	require.NoError(t, os.Rename(d.pack("bp", "compile", "id -un; echo in $CF_STACK"), closed+"/bp"))
	code, _, errs := d.run("stage", "app", "-b", closed+"/bp", "--backend", "runc", "--stack", "cflinux=/", "-o", "other.tgz")
	assert.Equal(t, exitOK, code, errs)
	assert.Contains(t, errs, "vcap\nin cflinux\n", "the buildpack of a directory that is for root alone")
	d.file("dull/bin/compile", "echo not executable")
	code, _, errs = d.run("stage", "app", "-b", "dull", "--backend", "runc", "-o", "other.tgz")
	assert.Equal(t, exitBuildpack, code)
	assert.Contains(t, errs, "with buildpack "+d.path("dull")+": Buildpack compilation step failed: bin/compile: it cannot be started: permission denied")
	for _, args := range [][]string{{"stage", "app"}, {"run", "droplet.tgz"}} {
		for stack, want := range map[string]string{
			"x=/gone": "--stack x=/gone: no such file", "x=app": "--stack x=app: the directory has no bin", "x=": "write NAME, or NAME=ROOTFS", "=app": "write NAME, or NAME=ROOTFS",
		} {
			code, _, errs := d.run(append(args, "--backend", "runc", "--stack", stack)...)
			assert.Equal(t, exitUsage, code, errs)
			assert.Contains(t, errs, want)
		}
	}
	p := d.start("run", "droplet.tgz", "--backend", "runc")
	p.saw("The app is up")
	p.signal(os.Interrupt)
	assert.Equal(t, exitSignal, p.wait())
}

// TestContainersWithoutRoot has an ordinary user stage and run in containers, and end the program amid that.
func TestContainersWithoutRoot(t *testing.T) {
	needs.Root(t) // to be another
	needs.Tool(t, "runc", "runc")
	d := newDeskOfNobody(t)
	require.NoError(t, os.Chmod(d.dir, 0o777))
	assert.Contains(t, d.succeeds("doctor"), "--backend auto takes runc, because it is the strongest that works here without root")
	d.file("app/Procfile", "web: sleep 1000\nwho: id -un\n")
	for _, backend := range []string{"auto", "runc"} {
		code, out, errs := d.run("stage", "app", "--backend", backend, "--json")
		require.Equal(t, exitOK, code, errs)
		assert.Equal(t, "runc", told[stagingJSON](t, out).Backend)
		assert.Regexp(t, `^Back end: runc, because .*\.\n`, errs)
		assert.Equal(t, "vcap\n", d.succeeds("run", "droplet.tgz", "-t", "who", "--backend", backend))
	}
	hangs := d.pack("hangs", "compile", "echo now; sleep 1000 & wait")
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := d.start("stage", "app", "-b", hangs)
		p.saw("now\n")
		p.signal(s)
		assert.Equal(t, exitSignal, p.wait(), p.err)
		d.nothingLeft()
	}
	p := d.start("stage", "app", "-b", hangs)
	p.saw("now\n")
	p.signal(syscall.SIGKILL)
	p.wait()
	d.succeeds("run", "droplet.tgz", "-t", "who") // which cleans up behind it
}

// TestBackEndIsTold looks for the line that says what programs run in.
func TestBackEndIsTold(t *testing.T) {
	d := newDesk(t)
	d.dropletOf(map[string]string{"web": "true"})
	for _, args := range [][]string{
		{"run", "x.tgz", "--health-check", "none", "--backend", "process"},
		{"stage", d.path("home"), "-b", d.pack("bp", "compile", "true"), "--backend", "process"},
	} {
		code, _, errs := d.run(args...)
		require.Equal(t, exitOK, code, errs)
		assert.Regexp(t, `^Back end: process, because of --backend process\. It confines nothing: .*\n`, errs)
		code, _, errs = d.run(append(args, "--quiet")...)
		require.Equal(t, exitOK, code)
		assert.Empty(t, errs)
	}
}
