package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// users are those who use the program in tests: who runs the test, and an ordinary user.
var users = map[string]func(*testing.T) *desk{"own": newDesk, "nobody": newDeskOfNobody}

// writeApp writes an app that serves its own source, with what a Procfile needs.
func writeApp(d *desk) string {
	d.file("app/Procfile", "web: python3 -u -m http.server $PORT\nworker: echo working; exit 3\n")
	d.file("app/hello.txt", "hello\n")
	return d.path("app")
}

func TestStageAndRun(t *testing.T) {
	needs.Tool(t, "python3", "python3")
	for name, open := range users {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			require.NoError(t, os.Chmod(d.dir, 0o777))
			out := d.succeeds("stage", writeApp(d), "--backend", "process")
			assert.Regexp(t, `(?m)^droplet +droplet\.tgz  \d+ bytes$`, out)
			assert.Regexp(t, `(?m)^buildpack +Procfile \(procfile\)$`, out)
			assert.Regexp(t, `(?m)^worker +echo working; exit 3$`, out)

			p := d.start("run", "droplet.tgz", "--backend", "process", "--env", "GREETING=hi there")
			p.saw("The app is up")
			_, url, found := strings.Cut(p.err.String(), "  http://")
			require.True(t, found)
			answer, err := http.Get("http://" + strings.TrimSpace(url) + "hello.txt")
			require.NoError(t, err)
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			assert.Equal(t, "hello\n", string(text))
			p.signal(os.Interrupt)
			assert.Equal(t, exitSignal, p.wait())
			assert.Contains(t, p.out.String(), "Serving HTTP on")
			assert.Contains(t, p.err.String(), `"GET /hello.txt HTTP/1.1" 200`)
			assert.Contains(t, p.err.String(), "droplet: ended by a signal\n")

			code, out, errs := d.run("run", "droplet.tgz", "--process", "worker", "--backend", "process")
			assert.Equal(t, 3, code, "the app's own")
			assert.Equal(t, "working\n", out)
			assert.Contains(t, errs, "the app ended with status 3")
		})
	}
}

// stagingJSON has the keys that are promised.
type stagingJSON struct {
	Droplet struct {
		Path   string `json:"path"`
		Size   int64  `json:"size"`
		SHA1   string `json:"sha1"`
		SHA256 string `json:"sha256"`
	} `json:"droplet"`
	Detected   string              `json:"detected_buildpack"`
	Buildpacks []map[string]string `json:"buildpacks"`
	Command    string              `json:"start_command"`
	Types      map[string]string   `json:"process_types"`
	Backend    string              `json:"backend"`
	Cache      struct {
		Path string `json:"path"`
	} `json:"cache"`
	Phases []struct {
		Name    string   `json:"name"`
		Seconds *float64 `json:"seconds"`
	} `json:"phases"`
}

func TestStageJSON(t *testing.T) {
	d := newDesk(t)
	app := d.path("app")
	d.file("app/x", "")
	pack := d.pack("bp", "compile", "echo from buildpack; echo $NAME > $1/name", "release", "echo 'default_process_types: {web: serve}'")
	code, out, errs := d.run("stage", app, "-b", pack, "-o", "out.tgz", "--json", "--backend", "process", "-e", "NAME=a b=c")
	require.Equal(t, exitOK, code, errs)
	assert.Contains(t, errs, "\nfrom buildpack\n", "the log goes to standard error")
	report := told[stagingJSON](t, out)
	info, err := os.Stat(d.path("out.tgz"))
	require.NoError(t, err)
	assert.Equal(t, info.Size(), report.Droplet.Size)
	assert.Equal(t, "out.tgz", report.Droplet.Path)
	assert.Len(t, report.Droplet.SHA1, 40)
	assert.Len(t, report.Droplet.SHA256, 64)
	assert.Equal(t, "serve", report.Command)
	assert.Equal(t, map[string]string{"web": "serve"}, report.Types)
	assert.Equal(t, "process", report.Backend)
	assert.True(t, strings.HasPrefix(report.Cache.Path, d.path("home", ".cache", "deakit", "droplet", "app-")), report.Cache.Path)
	var phases []string
	for _, p := range report.Phases {
		require.NotNil(t, p.Seconds)
		phases = append(phases, p.Name)
	}
	assert.Equal(t, []string{"prepare", "detect", "compile", "release", "pack"}, phases)
	assert.Equal(t, []map[string]string{{"name": pack}}, report.Buildpacks, "it tells nothing of itself")

	code, out, errs = d.run("stage", app, "-b", pack, "-o", "out.tgz", "--quiet", "--backend", "process")
	require.Equal(t, exitOK, code)
	assert.Empty(t, errs)
	assert.Contains(t, out, "serve")
}

func TestStageFails(t *testing.T) {
	d := newDesk(t)
	d.file("app/x", "")
	nothing := d.pack("nothing", "detect", "exit 1", "compile", "true")
	compile := d.pack("compile", "compile", "echo step one; echo boom >&2; exit 7")
	release := d.pack("release", "compile", "true", "release", "echo '['")
	hangs := d.pack("hangs", "compile", "echo waiting; sleep 1000")
	d.file("broken.zip", "PK\x03\x04 no more of it")
	d.file("text", "neither")
	d.file("large/x", strings.Repeat("large", 1<<20))
	grows := d.pack("grows", "compile", `head -c 3000000 /dev/zero > "$1/zeros"`)
	d.file("list/Procfile", "- a\n")
	fine := d.pack("fine", "compile", "true")
	d.file("dull/bin/compile", "echo not executable")
	supply, final := d.pack("supply", "supply", "exit 3"), d.pack("final", "finalize", "true")
	d.pack("cnb", "detect", "exit 100", "build", "true")
	d.file("cnb/buildpack.toml", "api = '0.10'\n[buildpack]\nid = 'x/y'\nversion = '1.0.0'\n[[stacks]]\nid = '*'\n")
	d.file("x.tar.xz", "\xfd7zXZ\x00 and more")
	for name, tc := range map[string]struct {
		args  []string
		code  int
		kind  string
		phase string
		text  string
	}{
		"no buildpack":     {[]string{"app"}, exitNotFound, "NoAppDetectedError", "detect", "could not be detected"},
		"none detects":     {[]string{"app", "-b", nothing, "--detect"}, exitNotFound, "NoAppDetectedError", "detect", ""},
		"compile":          {[]string{"app", "-b", compile}, exitBuildpack, "BuildpackCompileFailed", "compile", "bin/compile exited with status 7"},
		"release":          {[]string{"app", "-b", release}, exitBuildpack, "BuildpackReleaseFailed", "release", ""},
		"procfile":         {[]string{"list", "-b", fine}, exitBuildpack, "ProcfileRefused", "release", "YAML hash"},
		"timeout":          {[]string{"app", "-b", hangs, "--timeout", "500ms"}, exitTimeout, "TimedOut", "compile", "waiting for compile when the 500ms had passed that staging may take"},
		"broken zip":       {[]string{"broken.zip", "-b", fine}, exitSource, "PackageRefused", "prepare", ""},
		"no archive":       {[]string{"text", "-b", fine}, exitSource, "PackageRefused", "prepare", "neither a zip file nor a tar file"},
		"large app":        {[]string{"large", "-b", fine, "--disk", "1M"}, exitSource, "PackageRefused", "prepare", "more than 1048576 bytes"},
		"large droplet":    {[]string{"app", "-b", grows, "--disk", "1M"}, exitBuildpack, "DropletRefused", "pack", "more than 1048576 bytes"},
		"no such app":      {[]string{"gone"}, exitUsage, "", "", "no such file"},
		"no such pack":     {[]string{"app", "-b", "gone"}, exitFetch, "", "", "buildpack gone: no such file or directory; give a directory"},
		"pack is empty":    {[]string{"app", "-b", "app"}, exitFetch, "", "", "app: it has no bin/compile, bin/finalize or buildpack.toml"},
		"pack cannot run":  {[]string{"app", "-b", "dull"}, exitBuildpack, "BuildpackCompileFailed", "compile", "bin/compile: it cannot be started: permission denied"},
		"supply fails":     {[]string{"app", "-b", supply, "-b", final}, exitBuildpack, "BuildpackCompileFailed", "compile", "with buildpack " + supply},
		"CNB says no":      {[]string{"app", "-b", "cnb"}, exitNotFound, "NoAppDetectedError", "compile", "no group of buildpacks takes the app"},
		"xz":               {[]string{"x.tar.xz", "-b", fine}, exitSource, "PackageRefused", "prepare", "compressed by xz: give a zip file"},
		"pack is no zip":   {[]string{"app", "-b", "text"}, exitFetch, "BuildpackFailed", "detect", "text"},
		"bad scheme":       {[]string{"app", "-b", "gopher://x/y"}, exitFetch, "", "", "scheme"},
		"git repository":   {[]string{"app", "-b", "file:///no/such/repository"}, exitFetch, "BuildpackFailed", "detect", "could not be fetched"},
		"output is a dir":  {[]string{"app", "-o", "nothing"}, exitUsage, "", "", "is a directory"},
		"output nowhere":   {[]string{"app", "-o", "gone/droplet.tgz"}, exitUsage, "", "", "no such file"},
		"stack of process": {[]string{"app", "-b", fine, "--stack", "x=/"}, exitUsage, "", "", "root file system"},
		"no such stack":    {[]string{"app", "-b", fine, "--stack", "x=/gone"}, exitUsage, "", "", "no root file system but"},
		"nameless env":     {[]string{"app", "-e", "=x"}, exitUsage, "", "", "no name"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := d.run(append([]string{"stage", "--backend", "process", "--json"}, tc.args...)...)
			assert.Equal(t, tc.code, code, errs)
			report := told[struct {
				Error struct {
					Code    int      `json:"exit_code"`
					Message string   `json:"message"`
					Kind    string   `json:"kind"`
					Phase   string   `json:"phase"`
					Lines   []string `json:"last_lines"`
				} `json:"error"`
			}](t, out)
			assert.Equal(t, tc.code, report.Error.Code)
			assert.Equal(t, tc.kind, report.Error.Kind)
			assert.Equal(t, tc.phase, report.Error.Phase)
			assert.Contains(t, report.Error.Message, tc.text)
			assert.NoFileExists(t, d.path("droplet.tgz"))
			if name == "compile" {
				assert.Equal(t, []string{"step one", "boom"}, report.Error.Lines)
			}
		})
	}
	code, _, errs := d.run("stage", "gone", "-b", fine)
	assert.Equal(t, exitUsage, code)
	assert.Equal(t, "droplet: gone: no such file or directory\ndroplet: name the source of an app: a directory, a zip file or a tar file\n", errs)
	code, _, errs = d.run("stage", "app", "-b", fine, "--stack")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errs, "droplet: --stack: give a value; try --help\n")
	code, _, errs = d.run("stage", "--backend", "process", "app", "-b", "text")
	assert.Equal(t, exitFetch, code)
	assert.Equal(t, 1, strings.Count(errs, "neither a zip file nor a tar file"), "it is told once: %s", errs)
	assert.NotContains(t, errs, d.path("tmp"), "a temporary name tells nobody anything")
	code, out, errs := d.run("stage", "--quiet", "--backend", "process", "app", "-b", compile)
	assert.Equal(t, exitBuildpack, code)
	assert.Empty(t, out)
	assert.Contains(t, errs, "droplet: stage: compile with buildpack "+compile)
	assert.Contains(t, errs, "    step one\n    boom\n", "a quiet program shows the last lines all the same")
}

func TestUsage(t *testing.T) {
	d := newDesk(t)
	for _, tc := range []struct {
		want int
		args []string
	}{
		{exitOK, []string{"--help"}},
		{exitOK, []string{"stage", "--help"}},
		{exitUsage, []string{}},
		{exitUsage, []string{"no-such-command"}},
		{exitUsage, []string{"stage"}},
		{exitUsage, []string{"stage", ".", "--detect"}},
		{exitUsage, []string{"stage", ".", "--backend", "magic"}},
		{exitUsage, []string{"stage", ".", "--memory", "lots"}},
		{exitUsage, []string{"stage", ".", "--memory", "0"}},
		{exitUsage, []string{"stage", ".", "--timeout", "-1s"}},
		{exitUsage, []string{"stage", ".", "--cache", "x", "--no-cache"}},
		{exitUsage, []string{"run", "gone.tgz"}},
		{exitUsage, []string{"run", "."}},
		{exitUsage, []string{"run", "x", "--timeout", "1ms"}},
		{exitOK, []string{"doctor", "--backend", "process"}},
	} {
		code, _, errs := d.run(tc.args...)
		assert.Equal(t, tc.want, code, "%q: %s", tc.args, errs)
	}
}

func TestCacheIsKept(t *testing.T) {
	d := newDesk(t)
	d.file("app/x", "")
	pack := d.pack("bp", "compile", `if [ -f "$2/kept" ]; then echo it is there; fi; echo x > "$2/kept"`)
	stage := func(flags ...string) string {
		code, _, errs := d.run(append([]string{"stage", "app", "-b", pack, "--backend", "process"}, flags...)...)
		require.Equal(t, exitOK, code, errs)
		return errs
	}
	require.NoError(t, os.Mkdir(d.path("caches"), 0o755))
	for name, flags := range map[string][]string{
		"default": {}, "file": {"--cache", "cache.tgz"}, "directory": {"--cache", "caches"},
	} {
		assert.NotContains(t, stage(flags...), "it is there", name)
		assert.Contains(t, stage(flags...), "it is there", name)
	}
	assert.FileExists(t, d.path("cache.tgz"))
	found, err := filepath.Glob(d.path("caches", "app-*.tgz"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	info, err := os.Stat(found[0])
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	assert.NotContains(t, stage("--no-cache"), "it is there")

	whole, err := os.ReadFile(d.path("cache.tgz"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(d.path("cache.tgz"), whole[:len(whole)-4], 0o600))
	assert.Contains(t, stage("--cache", "cache.tgz"), "The cache cannot be used")
	assert.Contains(t, stage("--cache", "cache.tgz"), "it is there", "and was made anew")

	d.vars = append(d.vars, "HOME=", "XDG_CACHE_HOME=")
	assert.Contains(t, stage(), "There is no place for a cache")
	code, _, _ := d.run("stage", "app", "-b", pack, "--backend", "process", "--cache", "/no/such/place/x.tgz")
	assert.Equal(t, exitUsage, code)
}

// TestSignals ends the program at every step of a staging and of the life of an app.
func TestSignals(t *testing.T) {
	for name, open := range users {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			require.NoError(t, os.Chmod(d.dir, 0o777))
			d.file("app/x", "")
			wait := "trap '' TERM; echo now; sleep 1000 & wait"
			for step, scripts := range map[string][]string{
				"detect":  {"detect", "{ " + wait + "; } >&2", "compile", "true"},
				"compile": {"compile", wait},
				"release": {"compile", "true", "release", "{ " + wait + "; } >&2"},
			} {
				flags := []string{"stage", "app", "-b", d.pack(step, scripts...), "--backend", "process"}
				if step == "detect" {
					flags = append(flags, "--detect")
				}
				for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
					p := d.start(flags...)
					p.saw("now\n")
					p.signal(s)
					assert.Equal(t, exitSignal, p.wait(), "%s %s", step, s)
					assert.Contains(t, p.err.String(), "ended by a signal while it was at the step "+step)
					d.nothingLeft()
				}
			}
			assert.NoFileExists(t, d.path("droplet.tgz"))
		})
	}
}

// TestKilled checks that what a program leaves that was killed is gone with the next.
func TestKilled(t *testing.T) {
	d := newDesk(t)
	d.file("app/x", "")
	hangs := d.pack("hangs", "compile", "echo now; sleep 1000 & wait")
	p := d.start("stage", "app", "-b", hangs, "--backend", "process")
	p.saw("now\n")
	other := d.start("stage", "app", "-b", hangs, "--backend", "process", "-o", "other.tgz")
	other.saw("now\n")
	p.signal(syscall.SIGKILL)
	p.wait()
	left, err := filepath.Glob(d.path("tmp", workPrefix+"*"))
	require.NoError(t, err)
	require.Len(t, left, 2)
	d.succeeds("stage", "app", "-b", d.pack("fine", "compile", "true"), "--backend", "process")
	left, err = filepath.Glob(d.path("tmp", workPrefix+"*"))
	require.NoError(t, err)
	assert.Len(t, left, 1, "that of the program which still works")
	other.signal(os.Interrupt)
	assert.Equal(t, exitSignal, other.wait())
}
