package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/buildpack"
)

// asProgram makes the test binary the program itself.
const asProgram = "TEST_LIFECYCLE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args))
	}
	os.Exit(m.Run())
}

// A program is the binary under a name.
type program struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

// called returns the binary, linked as name where it has one of a program.
func called(t *testing.T, name string, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	link := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.Symlink(self, link))
	p := &program{Cmd: exec.Command(link, args...)}
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Cmd.Stdout, p.Cmd.Stderr = &p.stdout, &p.stderr
	return p
}

// code runs the program to its end.
func (p *program) code() int {
	_ = p.Run()
	return p.ProcessState.ExitCode()
}

// write writes scripts and files below a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(content), 0o755))
	}
}

func builderFlags(dir string, more ...string) []string {
	return append([]string{
		"-buildDir", dir + "/app", "-outputDroplet", dir + "/droplet", "-outputMetadata", dir + "/result.json", "-outputBuildArtifactsCache", dir + "/cache.tgz",
		"-buildpacksDir", dir + "/buildpacks", "-buildpacksDownloadDir", dir + "/downloads", "-buildArtifactsCacheDir", dir + "/cache",
	}, more...)
}

func TestFromSourceToApp(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"app/.profile": "export FROM=app",
		"buildpacks/" + buildpack.Hash("a") + "/bin/supply":   "#!/bin/sh\nmkdir $3/$4/lib; echo data >$3/$4/lib/data; echo supplied\n",
		"buildpacks/" + buildpack.Hash("b") + "/bin/finalize": "#!/bin/sh\ncat $3/0/lib/data; echo 'export DATA=$(cat $DEPS_DIR/0/lib/data)' >$5/data.sh; echo trouble >&2\n",
		"buildpacks/" + buildpack.Hash("b") + "/bin/release":  "#!/bin/sh\necho 'default_process_types: {web: echo \"$DATA of $FROM\"; exit 5}'\n",
	})
	builder := called(t, "lifecycle", append([]string{"builder"}, builderFlags(dir, "-buildpackOrder", "a,b", "-skipDetect")...)...)
	require.Equal(t, 0, builder.code(), builder.stderr.String())
	assert.Equal(t, "supplied\ndata\n", builder.stdout.String())
	assert.Equal(t, "trouble\n", builder.stderr.String())
	var result struct {
		Types map[string]string `json:"process_types"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "result.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &result))
	assert.Contains(t, result.Types, "web")
	assert.FileExists(t, filepath.Join(dir, "cache.tgz"))

	root := t.TempDir()
	out, err := exec.Command("tar", "-xzf", filepath.Join(dir, "droplet"), "-C", root).CombinedOutput()
	require.NoError(t, err, "%s", out)
	launcher := called(t, "launcher", "app", "", "{}")
	launcher.Dir = root
	assert.Equal(t, 5, launcher.code(), launcher.stderr.String())
	assert.Equal(t, "Invoking pre-start scripts.\nInvoking start command.\ndata of app\n", launcher.stdout.String())

	shell := called(t, "shell", filepath.Join(root, "app"), `echo "$DATA of ${FROM-none}"; cat`)
	shell.Stdin = strings.NewReader("typed\n")
	assert.Equal(t, 0, shell.code(), shell.stderr.String())
	assert.Equal(t, "data of none\ntyped\n", shell.stdout.String())
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"app/x": ""})
	for name, test := range map[string]struct {
		name string
		args []string
		code int
		text string
	}{
		"nothing":         {"lifecycle", nil, 2, "lifecycle: which program? Give builder, launcher, shell or healthcheck\n\nThe programs that"},
		"unknown":         {"lifecycle", []string{"destroyer"}, 2, "lifecycle: there is no program \"destroyer\": give builder, launcher, shell or healthcheck\n\nThe programs that"},
		"help and more":   {"lifecycle", []string{"--help", "builder"}, 0, "Exit codes of builder"},
		"help":            {"lifecycle", []string{"--help"}, 0, "Exit codes of builder"},
		"no order":        {"builder", nil, 1, "missing flag: -buildpackOrder"},
		"help of builder": {"builder", []string{"--help"}, 0, "-skipDetect"},
		"unknown flag":    {"lifecycle", []string{"builder", "-x"}, 2, "not defined: -x"},
		"none detects":    {"builder", builderFlags(dir, "-buildpackOrder=x"), 222, "None of the buildpacks detected a compatible application\n"},
		"no supply":       {"builder", builderFlags(dir, "-buildpackOrder=x,y", "-skipDetect"), 225, "Failed to run all supply scripts: malformed buildpack does not contain a /bin dir: x (expected: "},
		"launcher":        {"launcher", []string{"app"}, 1, "launcher: received only 1 arguments"},
		"shell":           {"shell", []string{"/none"}, 1, "Provided app direcory does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			p := called(t, test.name, test.args...)
			assert.Equal(t, test.code, p.code())
			assert.Contains(t, p.stdout.String()+p.stderr.String(), test.text)
		})
	}
}

func TestHealthCheck(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	p := called(t, "healthcheck", "-port", fmt.Sprint(l.Addr().(*net.TCPAddr).Port), "-timeout=20s")
	assert.Equal(t, 1, p.code(), "who listens on loopback alone is not up")
	assert.Equal(t, "healthcheck failed\n", p.stdout.String())
}

// TestSignalEndsBuilder shows that a signal ends the buildpack that runs, and leaves nothing temporary.
func TestSignalEndsBuilder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"app/x": "", "temp/x": "",
		"buildpacks/" + buildpack.Hash("b") + "/bin/finalize": "#!/bin/sh\necho $$ >$1/pid.new; mv $1/pid.new $1/pid; sleep 1000\n",
	})
	p := called(t, "builder", builderFlags(dir, "-buildpackOrder=b", "-skipDetect")...)
	p.Env = append(p.Env, "TMPDIR="+dir+"/temp")
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	var pid int
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(filepath.Join(dir, "app/pid"))
		_, scanned := fmt.Sscan(string(data), &pid)
		return err == nil && scanned == nil
	}, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	_ = p.Wait()
	assert.Equal(t, 1, p.ProcessState.ExitCode(), p.stderr.String())
	assert.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	left, err := os.ReadDir(filepath.Join(dir, "temp"))
	require.NoError(t, err)
	assert.Len(t, left, 1)
	assert.NoFileExists(t, filepath.Join(dir, "droplet"))
}
