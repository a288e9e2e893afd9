package framework_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

func find(t *testing.T, name string) framework.Plugin {
	t.Helper()
	plugin, err := framework.Find(name)
	require.NoError(t, err)
	return plugin
}

// stageWith stages an app as a stager does. It returns the droplet, unpacked, and the log.
func stageWith(t *testing.T, app stagetest.Files, bp buildpack.Buildpack) (dir, log string, result staging.Result, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	kept, err := staging.NewLog(file, staging.LogOptions{})
	require.NoError(t, err)
	defer kept.Close()
	var droplet bytes.Buffer
	task := staging.Task{App: app.Dir(t), Custom: bp, Droplet: &droplet, Timeout: time.Minute}
	result, err = staging.Stage(t.Context(), task, staging.Parts{Container: stagetest.Container(t, container.Spec{BindMounts: task.Mounts()}), Log: kept})
	text, readErr := os.ReadFile(file)
	require.NoError(t, readErr)
	dir = t.TempDir()
	if err == nil {
		untar := exec.Command("tar", "-xz", "-C", dir)
		untar.Stdin = &droplet
		require.NoError(t, untar.Run())
	}
	return dir, string(text), result, err
}

// freePort returns a port that nobody listens at.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs a command in a directory of a droplet and returns what a GET of the app's root says; stop, which it then runs, must
// end the app and its startup script.
func start(t *testing.T, droplet, dir, command string) string {
	t.Helper()
	port := freePort(t)
	app := exec.Command("/bin/bash", "-c", command)
	app.Dir = filepath.Join(droplet, dir)
	app.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + droplet, "VCAP_APP_PORT=" + strconv.Itoa(port), "PORT=1"}
	app.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, app.Start())
	ended := make(chan error, 1)
	go func() { ended <- app.Wait() }()
	defer func() {
		_ = syscall.Kill(-app.Process.Pid, syscall.SIGKILL) // what a failed test leaves
	}()
	var answer string
	require.Eventually(t, func() bool {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		answer = string(body)
		return err == nil
	}, 30*time.Second, 50*time.Millisecond, "the app answers: %s", logs(droplet))
	pid, err := os.ReadFile(filepath.Join(droplet, "run.pid"))
	require.NoError(t, err)
	stop := exec.Command(filepath.Join(droplet, "stop"), strings.TrimSpace(string(pid)))
	output, err := stop.CombinedOutput()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("the startup script goes on after stop: %v %s", err, output)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return syscall.Kill(n, 0) != nil }, 10*time.Second, 20*time.Millisecond, "the app has ended")
	return answer
}

func logs(droplet string) string {
	var all string
	for _, name := range []string{"stdout.log", "stderr.log", "startup.log"} {
		data, _ := os.ReadFile(filepath.Join(droplet, "logs", name))
		all += string(data)
	}
	return all
}

func TestSinatraAppOfTodayRuns(t *testing.T) {
	ruby := needs.Tool(t, "ruby", "ruby")
	if exec.Command(ruby, "-e", "require 'sinatra/base'").Run() != nil {
		needs.Skip(t, "Ruby has no Sinatra on this machine: apt-get install ruby-sinatra")
	}
	app := stagetest.Files{"app.rb": "require 'sinatra'\nget('/') { \"Hello from #{ENV['RACK_ENV']}\" }\n"}
	properties := framework.Properties{
		Framework: "sinatra", Runtime: runtimes.Runtime{Name: "ruby19", Executable: "ruby", Version: "1.9.3"},
	}
	dir, log, result, err := stageWith(t, app, framework.NewBuildpack(find(t, "sinatra"), properties, framework.BuildpackOptions{}))
	require.NoError(t, err, log)
	assert.Contains(t, log, "The app asks for ruby19 1.9.3 and gets ")
	assert.Contains(t, log, "Please provide a Gemfile.lock to use auto-reconfiguration.\n")
	assert.Equal(t, "sinatra", result.DetectedBuildpack)

	script, err := os.ReadFile(filepath.Join(dir, "startup"))
	require.NoError(t, err)
	assert.NotContains(t, string(script), "%VCAP_LOCAL_RUNTIME%")
	assert.Equal(t, "Hello from production", start(t, dir, "app", result.StartCommand), "as a DEA of today starts it")
}

func TestDropletOfFirstGenerationRuns(t *testing.T) {
	ruby := needs.Tool(t, "ruby", "ruby")
	if exec.Command(ruby, "-e", "require 'sinatra/base'").Run() != nil {
		needs.Skip(t, "Ruby has no Sinatra on this machine: apt-get install ruby-sinatra")
	}
	source, dest := t.TempDir(), t.TempDir()
	stagetest.Files{"app.rb": "require 'sinatra'\nget('/') { 'hello' }\n"}.Write(t, source)
	_, err := framework.Stage(t.Context(), find(t, "sinatra"), framework.Task{Source: source, Dest: dest}, framework.Options{})
	require.NoError(t, err)
	before, err := os.ReadFile(filepath.Join(dest, "stop"))
	require.NoError(t, err)
	require.NoError(t, framework.Bind(dest, ruby))
	after, err := os.ReadFile(filepath.Join(dest, "stop"))
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after), "stop is not touched")
	info, err := os.Stat(filepath.Join(dest, "startup"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o500), info.Mode())
	assert.Equal(t, "hello", start(t, dest, ".", `exec ./startup -p "$VCAP_APP_PORT"`))
}

// A droplet has all that the app has, and what a DEA of any time looks for.
func TestDropletsAreWhole(t *testing.T) {
	for plugin, app := range map[string]stagetest.Files{
		"php":      {"index.php": "x", ".hidden": "x", "dir/.hidden": "x"},
		"java_web": {"WEB-INF/web.xml": "<web-app/>", ".hidden": "x"},
	} {
		properties := framework.Properties{Runtime: runtimes.Runtime{Name: "shell"}}
		dir, log, result, err := stageWith(t, app, framework.NewBuildpack(find(t, plugin), properties, shellRuntime))
		require.NoError(t, err, log)
		assert.Equal(t, framework.StartCommand, result.StartCommand)
		for _, name := range []string{"app", "logs", "tmp"} {
			assert.DirExists(t, filepath.Join(dir, name), plugin)
		}
		for _, name := range []string{"startup", "stop", "logs/staging.log", "staging_info.yml"} {
			assert.FileExists(t, filepath.Join(dir, name), plugin)
		}
		root := map[string]string{"php": "app", "java_web": "tomcat/webapps/ROOT"}[plugin]
		for name := range app {
			assert.FileExists(t, filepath.Join(dir, root, name), plugin)
		}
	}
}

func TestNodeAppRuns(t *testing.T) {
	needs.Tool(t, "node", "nodejs")
	app := stagetest.Files{"app.js": `require('http').createServer(function (q, r) { r.end('hello'); }).listen(process.env.PORT);`}
	properties := framework.Properties{Runtime: runtimes.Runtime{Name: "node06", Executable: "/opt/nodejs06/bin/node"}}
	dir, log, result, err := stageWith(t, app, framework.NewBuildpack(find(t, "node"), properties, framework.BuildpackOptions{}))
	require.NoError(t, err, log)
	assert.Equal(t, "hello", start(t, dir, "app", result.StartCommand))
}

func TestWSGIAppRuns(t *testing.T) {
	needs.Tool(t, "python3", "python3")
	app := stagetest.Files{"wsgi.py": "def application(environ, start):\n    start('200 OK', [])\n    return [b'hello']\n"}
	properties := framework.Properties{Runtime: runtimes.Runtime{Name: "python2", Executable: "python3"}}
	dir, log, result, err := stageWith(t, app, framework.NewBuildpack(find(t, "wsgi"), properties, framework.BuildpackOptions{}))
	require.NoError(t, err, log)
	assert.Equal(t, "hello", start(t, dir, "app", result.StartCommand))
}

// shellRuntime is a runtime that every machine has.
var shellRuntime = framework.BuildpackOptions{Catalogue: runtimes.Catalogue{{
	Runtime:     runtimes.Runtime{Name: "shell", VersionFlag: "-c 'echo 1.9.3'", VersionOutput: `^1\.9`},
	Executables: []string{"sh"},
	Aliases:     []string{"ruby19"},
}}, Strict: false}

func TestProgramsRunInTheContainer(t *testing.T) {
	bundle := func(script string) stagetest.Files { // the runtime is sh, and so is what it runs
		return stagetest.Files{
			"app.rb": "require 'sinatra'\n", "Gemfile": "", "Gemfile.lock": "GEM\n  specs:\n    sinatra (1.3.2)\n", "bundler": script,
			"vendor/cache/sinatra-1.3.2.gem": "gem",
		}
	}
	properties := framework.Properties{Runtime: runtimes.Runtime{Name: "ruby19", Bundler: "./bundler"}}
	bp := framework.NewBuildpack(find(t, "sinatra"), properties, shellRuntime)
	dir, log, _, err := stageWith(t, bundle(`echo "in $(basename "$PWD") with $*"; mkdir -p rubygems/ruby/1.9.1/cache rubygems/ruby/1.9.1/gems`), bp)
	require.NoError(t, err, log)
	assert.Contains(t, log, "in app with install --local\n")
	assert.DirExists(t, filepath.Join(dir, "app/rubygems/ruby/1.9.1/gems"))
	assert.NoDirExists(t, filepath.Join(dir, "app/rubygems/ruby/1.9.1/cache"))

	_, log, _, err = stageWith(t, bundle(`echo no gem; exit 7`), bp)
	var failed *staging.Error
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, staging.CompileFailed, failed.Kind)
	assert.Contains(t, err.Error(), "Failed installing gems. Please put all of them into vendor/cache with bundle package (exit status 7).")
	assert.Contains(t, log, "no gem\n")
}

func TestProgramsThatMayFail(t *testing.T) {
	app := stagetest.Files{
		"config/application.rb": "", "config/environment.rb": "", "Gemfile.lock": "GEM\n  specs:\n    rails (3.2.8)\n",
		"vendor/cache/rails-3.2.8.gem": "gem", "bundler": `case $* in *assets:precompile) exit 1 ;; esac`,
	}
	properties := framework.Properties{Runtime: runtimes.Runtime{Name: "ruby19", Bundler: "./bundler"}}
	dir, log, _, err := stageWith(t, app, framework.NewBuildpack(find(t, "rails3"), properties, shellRuntime))
	require.NoError(t, err, log)
	assert.Contains(t, log, "Running rake assets:precompile\nAssets precompilation failed\nTurning on live assets compilation\n")
	plugin, err := os.ReadFile(filepath.Join(dir, "app/vendor/plugins/configure_assets/init.rb"))
	require.NoError(t, err)
	assert.Equal(t, "Rails.application.config.serve_static_assets = true\nRails.application.config.assets.compile = true\n", string(plugin))
}

func TestDetectInTheContainer(t *testing.T) {
	properties := framework.Properties{Runtime: runtimes.Runtime{Name: "shell"}}
	var all []buildpack.Buildpack
	for _, plugin := range framework.Plugins() {
		all = append(all, framework.NewBuildpack(plugin, properties, shellRuntime))
	}
	task := staging.Task{
		App: stagetest.Files{"config.ru": "run 1\n", ".hidden": "x"}.Dir(t), Buildpacks: all, Droplet: io.Discard,
	}
	result, err := staging.Stage(t.Context(), task, staging.Parts{Container: stagetest.Container(t, container.Spec{})})
	require.NoError(t, err)
	assert.Equal(t, "rack", result.BuildpackKey)
	assert.Equal(t, framework.StartCommand, result.StartCommand)

	task.App = stagetest.Files{"readme": "x"}.Dir(t)
	_, err = staging.Stage(t.Context(), task, staging.Parts{Container: stagetest.Container(t, container.Spec{})})
	var failed *staging.Error
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, staging.NoAppDetected, failed.Kind)
}

func TestFailuresOfBuildpacks(t *testing.T) {
	for name, test := range map[string]struct {
		app     stagetest.Files
		plugin  string
		runtime runtimes.Runtime
		opts    framework.BuildpackOptions
		text    string
	}{
		"wrong app":    {stagetest.Files{"x": ""}, "spring", runtimes.Runtime{Name: "shell"}, shellRuntime, "web.xml not found"},
		"no runtime":   {stagetest.Files{"x": ""}, "php", runtimes.Runtime{Name: "php", Executable: "no-such-php"}, framework.BuildpackOptions{Catalogue: runtimes.Catalogue{}}, "the runtime is not installed"},
		"unknown name": {stagetest.Files{"x": ""}, "php", runtimes.Runtime{Name: "php"}, framework.BuildpackOptions{Catalogue: runtimes.Catalogue{}, Strict: true}, "the runtime is not configured"},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			test.opts.TempDir = temp
			_, log, _, err := stageWith(t, test.app, framework.NewBuildpack(find(t, test.plugin), framework.Properties{Runtime: test.runtime}, test.opts))
			var failed *staging.Error
			require.ErrorAs(t, err, &failed, log)
			assert.Equal(t, staging.CompileFailed, failed.Kind)
			assert.ErrorContains(t, err, test.text)
			left, err := os.ReadDir(temp)
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

func TestRunningProgramEndsWithTheStaging(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	app := stagetest.Files{
		"app.rb": "require 'sinatra'\n", "Gemfile.lock": "", "vendor/cache/x.gem": "x", "bundler": "echo begun; exec sleep 600",
	}
	properties := framework.Properties{Runtime: runtimes.Runtime{Name: "ruby19", Bundler: "./bundler"}}
	c := stagetest.Container(t, container.Spec{})
	log, err := staging.NewLog(filepath.Join(t.TempDir(), "log"), staging.LogOptions{})
	require.NoError(t, err)
	defer log.Close()
	bp := &watched{framework.NewBuildpack(find(t, "sinatra"), properties, shellRuntime), cancel}
	_, err = staging.Stage(ctx, staging.Task{App: app.Dir(t), Custom: bp, Droplet: io.Discard}, staging.Parts{Container: c, Log: log})
	var failed *staging.Error
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, staging.Interrupted, failed.Kind)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Empty(t, info.Processes)
}

// watched ends the staging when a program of its buildpack says that it has begun.
type watched struct {
	*framework.Buildpack
	end func()
}

func (w *watched) Compile(ctx context.Context, b buildpack.Build) error {
	b.Log = &untilBegun{b.Log, w.end}
	return w.Buildpack.Compile(ctx, b)
}

type untilBegun struct {
	io.Writer
	end func()
}

func (u *untilBegun) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "begun") {
		u.end()
	}
	return u.Writer.Write(p)
}

func TestWrappedBuildpack(t *testing.T) {
	classic, err := buildpack.NewClassic("", stagetest.Scripts("true", `mkdir "$1/.profile.d"; echo 'export SEEN=profile' >"$1/.profile.d/a.sh"`,
		`echo 'default_process_types: {web: "echo $SEEN $PORT $MEMORY_LIMIT $(basename $HOME) && exec sleep 600"}'`).Dir(t))
	require.NoError(t, err)
	properties := framework.Properties{Resources: framework.Resources{MemoryMB: 64}}
	dir, log, _, err := stageWith(t, stagetest.Files{"x": ""}, framework.WrapBuildpack(classic, properties))
	require.NoError(t, err, log)
	script, err := os.ReadFile(filepath.Join(dir, "startup"))
	require.NoError(t, err)
	assert.Equal(t, `#!/bin/bash
export HOME="$PWD/app"
export MEMORY_LIMIT="64m"
export PORT="$VCAP_APP_PORT"
export TMPDIR="$PWD/tmp"
unset GEM_PATH
if [ -d app/.profile.d ]; then
  for i in app/.profile.d/*.sh; do
    if [ -r $i ]; then
      . $i
    fi
  done
  unset i
fi
env > logs/env.log
DROPLET_BASE_DIR=$PWD
cd app
(echo $SEEN $PORT $MEMORY_LIMIT $(basename $HOME) && exec sleep 600) > $DROPLET_BASE_DIR/logs/stdout.log 2> $DROPLET_BASE_DIR/logs/stderr.log &
STARTED=$!
echo "$STARTED" >> $DROPLET_BASE_DIR/run.pid
wait $STARTED
`, string(script))

	app := exec.Command("./startup")
	app.Dir, app.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "VCAP_APP_PORT=8080"}
	app.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, app.Start())
	defer func() { _ = syscall.Kill(-app.Process.Pid, syscall.SIGKILL) }()
	require.Eventually(t, func() bool {
		out, _ := os.ReadFile(filepath.Join(dir, "logs/stdout.log"))
		return string(out) == "profile 8080 64m app\n"
	}, 20*time.Second, 20*time.Millisecond, "what the app sees")
	pid, err := os.ReadFile(filepath.Join(dir, "run.pid"))
	require.NoError(t, err)
	_, err = run(t, dir, nil, "./stop", strings.TrimSpace(string(pid)))
	require.NoError(t, err)
	require.Error(t, app.Wait(), "the startup script ends with the app, which was killed")

	nothing, err := buildpack.NewClassic("", stagetest.Scripts("true", "true", "echo '{}'").Dir(t))
	require.NoError(t, err)
	_, _, _, err = stageWith(t, stagetest.Files{"x": ""}, framework.WrapBuildpack(nothing, properties))
	assert.ErrorContains(t, err, "Please specify a web start command in your manifest.yml or Procfile")

	properties.Command = "./from-the-user"
	dir, _, _, err = stageWith(t, stagetest.Files{"x": ""}, framework.WrapBuildpack(nothing, properties))
	require.NoError(t, err)
	script, err = os.ReadFile(filepath.Join(dir, "startup"))
	require.NoError(t, err)
	assert.Contains(t, string(script), "(./from-the-user) > ")
}
