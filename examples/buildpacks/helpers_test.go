package buildpacks_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/internal/needs"
)

const patience = 20 * time.Second

// cache is shared by all tests, as compiling Go's standard library is what takes their time.
var cache string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "buildpacks cache ")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cache = filepath.Join(dir, "not there yet")
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

// copyApp copies a sample app to a directory with a blank in its name.
func copyApp(t *testing.T, name string) string {
	t.Helper()
	build := newApp(t, nil)
	require.NoError(t, os.CopyFS(build, os.DirFS(filepath.Join("..", "apps", name))))
	return build
}

func newApp(t *testing.T, files map[string]string) string {
	t.Helper()
	build := filepath.Join(t.TempDir(), "build dir", "app")
	require.NoError(t, os.MkdirAll(build, 0o755))
	for name, content := range files {
		path := filepath.Join(build, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return build
}

// runScript runs a script of a buildpack as staging does, but with as little around it as possible: no home, and
// another current directory. It returns what came on stdout, which is all that a staging log shows.
func runScript(t *testing.T, buildpack, script string, env []string, args ...string) (string, error) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(buildpack, "bin", script))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if stderr.Len() > 0 {
		t.Errorf("%s/bin/%s wrote to stderr: %s", buildpack, script, stderr.String())
	}
	return string(out), err
}

func compile(t *testing.T, buildpack, build string) {
	t.Helper()
	out, err := runScript(t, buildpack, "compile", nil, build, cache)
	require.NoError(t, err, out)
	require.Regexp(t, `\A-----> \S`, out)
}

func processes(t *testing.T, buildpack, build string) map[string]string {
	t.Helper()
	out, err := runScript(t, buildpack, "release", nil, build)
	require.NoError(t, err, out)
	var document struct {
		Types map[string]string `yaml:"default_process_types"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(out), &document), out)
	return document.Types
}

// release returns the start command of the web process.
func release(t *testing.T, buildpack, build string) string {
	t.Helper()
	web := processes(t, buildpack, build)["web"]
	require.NotEmpty(t, web)
	return web
}

// coreutils returns a directory for PATH with what scripts may take for granted, and no language.
func coreutils(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"sh", "cat", "cp", "dirname", "find", "grep", "head", "mkdir", "rm", "sed", "tr"} {
		require.NoError(t, os.Symlink(needs.Tool(t, name, "coreutils"), filepath.Join(dir, name)))
	}
	return dir
}

// contents maps each file below dir to its mode and digest.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = fmt.Sprintf("%s %x", info.Mode(), sha256.Sum256(data))
		return err
	}))
	return files
}

// An app that runs as an instance would.
type app struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *log
	url  string
	done chan struct{} // closed when the process has been waited for
}

// start runs the command as a DEA does: by bash, in the app's directory, which is also its home.
func start(t *testing.T, build, command string, env ...string) *app {
	t.Helper()
	port := freePort(t)
	a := &app{t: t, log: &log{}, url: "http://127.0.0.1:" + port, done: make(chan struct{})}
	a.cmd = exec.Command(needs.Tool(t, "bash", "bash"), "-c", command)
	a.cmd.Dir = build
	a.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + build, "TMPDIR=" + t.TempDir(), "LANG=C.UTF-8",
		"VCAP_APP_HOST=127.0.0.1", "VCAP_APP_PORT=" + port, "PORT=" + port, "CF_INSTANCE_INDEX=4", "VCAP_SERVICES={}",
		`VCAP_APPLICATION={"application_name":"shop","application_version":"f31d","instance_id":"9be4","instance_index":4}`,
	}, env...)
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, a.cmd.Start())
	go func() {
		defer close(a.done)
		_ = a.cmd.Wait() // the state is read from cmd
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL) // whatever is left of it
		<-a.done
		if t.Failed() {
			t.Logf("%s\n%s", command, a.output())
		}
	})
	a.awaitPort()
	return a
}

func (a *app) awaitPort() {
	a.t.Helper()
	require.Eventually(a.t, func() bool {
		select {
		case <-a.done:
			return true // the first request will tell
		default:
		}
		conn, err := net.Dial("tcp", a.url[len("http://"):])
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, patience, 20*time.Millisecond, "the app does not listen")
}

func (a *app) get(path string) (int, string) {
	client := http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Get(a.url + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

func (a *app) mustGet(path string) string {
	a.t.Helper()
	status, body := a.get(path)
	require.Equal(a.t, http.StatusOK, status, body)
	return body
}

// terminate ends the app as a DEA does and returns its exit code, -1 when it died of the signal.
func (a *app) terminate() int {
	a.t.Helper()
	require.NoError(a.t, a.cmd.Process.Signal(syscall.SIGTERM))
	return a.wait()
}

// wait returns the exit code of the app once it has ended by itself, and sees to it that nothing of it is left.
func (a *app) wait() int {
	a.t.Helper()
	select {
	case <-a.done:
	case <-time.After(patience):
		require.Fail(a.t, "the app does not end")
	}
	// busybox has a process for each connection, which may outlive the first one by a moment.
	require.Eventually(a.t, func() bool {
		return errors.Is(syscall.Kill(-a.cmd.Process.Pid, 0), syscall.ESRCH)
	}, patience, 5*time.Millisecond, "the app leaves processes behind")
	return a.cmd.ProcessState.ExitCode()
}

func (a *app) output() string { return a.log.String() }

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// A log collects output while others read it.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
