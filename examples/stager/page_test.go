package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/internal/programtest"
)

// A step of a page is a block of commands, and what the page shows of their output.
type step struct {
	commands string
	shown    []string
}

var block = regexp.MustCompile("(?ms)^```(sh|text)\n(.*?)^```$")

// steps are those of a page. A block with the first line of a script is output, too.
func steps(page string) (all []step) {
	for _, match := range block.FindAllStringSubmatch(page, -1) {
		kind, text := match[1], match[2]
		if kind == "sh" && !strings.HasPrefix(text, "#!") {
			all = append(all, step{commands: text})
			continue
		}
		last := &all[len(all)-1]
		last.shown = append(last.shown, text)
	}
	return all
}

// varies are the parts of what a page shows that are others each time; "…" stands for what it leaves out.
var varies = []struct{ shown, pattern *regexp.Regexp }{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), regexp.MustCompile(`127\.0\.0\.1:\d+`)},
	{regexp.MustCompile(`\b[A-Z2-7]{26}\b`), regexp.MustCompile(`[A-Z2-7]{26}`)},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), regexp.MustCompile(`[0-9a-f]{32}`)},
	{regexp.MustCompile(`\d+\.\d kB`), regexp.MustCompile(`\d+\.\d kB`)},
	{regexp.MustCompile(`…`), regexp.MustCompile(`(?s:.*?)`)},
}

// pattern matches output that is as a page shows it.
func pattern(shown string) *regexp.Regexp {
	text := regexp.QuoteMeta(strings.TrimSpace(shown))
	for _, v := range varies {
		text = regexp.MustCompile(quotedForm(v.shown.String())).ReplaceAllLiteralString(text, v.pattern.String())
	}
	return regexp.MustCompile(text)
}

// quotedForm is a pattern for what QuoteMeta makes of what a pattern matches: dots have a backslash then.
func quotedForm(p string) string { return strings.ReplaceAll(p, `\.`, `\\\.`) }

// A terminal is a shell that a person types into: what a command leaves behind, the next one finds.
type terminal struct {
	t      *testing.T
	dir    string
	input  io.Writer
	output *bufio.Reader
	blocks int
}

// endOfBlock is what the shell says after each block, with the status of the last command that failed, or 0.
const endOfBlock = "-- end of block "

func openTerminal(t *testing.T, dir string, env []string) *terminal {
	shell := exec.Command("bash")
	shell.Dir, shell.Env = dir, append(os.Environ(), env...)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := shell.StdinPipe()
	require.NoError(t, err)
	output, write, err := os.Pipe()
	require.NoError(t, err)
	shell.Stdout, shell.Stderr = write, write
	require.NoError(t, shell.Start())
	require.NoError(t, write.Close())
	t.Cleanup(func() {
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) // with what it runs in the background
		_ = shell.Wait()
		_ = output.Close()
	})
	term := &terminal{t: t, dir: dir, input: input, output: bufio.NewReader(output)}
	_, err = io.WriteString(input, "set -E; trap 'failed=$?' ERR\n")
	require.NoError(t, err)
	return term
}

// run types commands, and returns their output and the status of the last one that failed.
func (s *terminal) run(commands string) (string, int) {
	s.t.Helper()
	s.blocks++
	file := filepath.Join(s.t.TempDir(), "block.sh")
	require.NoError(s.t, os.WriteFile(file, []byte(commands), 0o600))
	_, err := fmt.Fprintf(s.input, "failed=0; source %s </dev/null; echo '%s'$failed\n", file, endOfBlock)
	require.NoError(s.t, err)
	var text strings.Builder
	for {
		line, err := s.output.ReadString('\n')
		require.NoError(s.t, err, "the shell has ended in\n%s\n%s", commands, text.String())
		if before, status, ok := strings.Cut(line, endOfBlock); ok {
			code, err := strconv.Atoi(strings.TrimSpace(status))
			require.NoError(s.t, err)
			return text.String() + before, code
		}
		text.WriteString(line)
	}
}

// A background is a program in a terminal of its own, until the test ends.
func (s *terminal) background(env []string, command string) *programtest.Program {
	s.t.Helper()
	cmd := exec.Command("bash", "-c", command)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as Ctrl-C, the end is for all of them
	return programtest.Run(s.t, cmd)
}

// shows waits for output as the page has it, also of what is compiled before.
func shows(t *testing.T, p *programtest.Program, shown string) {
	t.Helper()
	want := pattern(shown)
	require.Eventually(t, func() bool { return p.Ended() || want.MatchString(p.Text()) }, 5*patience, 5*time.Millisecond, "%s\nin\n%s", shown, p.Text())
	require.Regexp(t, want, p.Text(), "it has ended")
}

// checkout is a directory in which the commands of a page run as in a checkout, and leave what they make: configurations there have
// the ports and directories of this test.
func checkout(t *testing.T, replace *strings.Replacer) string {
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	config, err := os.ReadFile("config/stager.yml")
	require.NoError(t, err)
	file := filepath.Join(dir, "examples/stager/config/stager.yml")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, []byte(replace.Replace(string(config))), 0o600))
	require.NoError(t, os.Symlink(filepath.Join(root, "examples/apps"), filepath.Join(dir, "examples/apps")))
	return dir
}

// Pages are read as they should be.
func TestSteps(t *testing.T) {
	all := steps("# x\n```sh\na\nb\n```\n\n```text\none\n```\n```yaml\nc\n```\n```sh\n#!/bin/sh\n```\n```sh\nd\n```\n")
	assert.Equal(t, []step{{"a\nb\n", []string{"one\n", "#!/bin/sh\n"}}, {commands: "d\n"}}, all)

	want := pattern("a (b) 1.5 kB at http://127.0.0.1:123/\n[2026-11-26 08:14:57] x\n…\nend\n")
	assert.Regexp(t, want, "> a (b) 22.7 kB at http://127.0.0.1:99/\n[1999-01-01 00:00:00] x\ny\nz\nend\n")
	assert.NotRegexp(t, want, "> a (b) 22.7 kB at http://127.0.0.1:99/\n[1999-01-01 00:00:00] y\nz\nend\n")
}

func TestTerminal(t *testing.T) {
	s := openTerminal(t, t.TempDir(), []string{"NATS_URL=x"})
	_, code := s.run("mkdir a\ncd a\nx=$NATS_URL")
	assert.Zero(t, code)
	out, code := s.run("false\nbasename \"$PWD\"; echo $x >&2")
	assert.Equal(t, "a\nx\n", out)
	assert.Equal(t, 1, code, "of a command that is not the last")
	_, code = s.run("y=$(exit 3)")
	assert.Equal(t, 3, code)
}

// freePort is for a program of the page.
func freePort(t *testing.T) string { return strconv.Itoa(programtest.FreePort(t)) }
