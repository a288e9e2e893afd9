package buildpacks_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// A sample is an app, the buildpack that is made for it, and what to expect of the two.
type sample struct {
	app, buildpack string
	name           string // what detect prints
	body           string // what / shows, in part
	needs          func(testing.TB)
}

func samples() []sample {
	tool := func(name, aptPackage string) func(testing.TB) {
		return func(t testing.TB) { needs.Tool(t, name, aptPackage) }
	}
	return []sample{
		{"go", "go", "Go", "Hello from shop\ninstance index: 4\ninstance id: 9be4", tool("go", "golang-go")},
		{"python", "python", "Python", "Hello from shop\ninstance index: 4\n", tool("python3", "python3")},
		{"node", "node", "Node.js", "Hello from shop\ninstance index: 4\n", tool("node", "nodejs")},
		{"sinatra", "ruby", "Ruby/Sinatra", "Hello from shop\ninstance index: 4\n", sinatra},
		{"procfile", "procfile", "Procfile", "Hello from a Procfile\ninstance index: 4\n", tool("perl", "perl-base")},
		{"static", "static", "Static", "<h1>Hello from a static site</h1>", tool("go", "golang-go")},
	}
}

func sinatra(t testing.TB) {
	if err := exec.Command(needs.Tool(t, "ruby", "ruby"), "-e", `require "sinatra/base"`).Run(); err != nil {
		needs.Skip(t, "Ruby has no Sinatra on this machine: apt-get install ruby-sinatra")
	}
}

func TestEachBuildpackDetectsItsAppAndNoOther(t *testing.T) {
	for _, app := range samples() {
		build := copyApp(t, app.app)
		for _, other := range samples() {
			out, err := runScript(t, other.buildpack, "detect", nil, build)
			if other.buildpack == app.buildpack {
				assert.NoError(t, err, "%s in %s", other.buildpack, app.app)
				assert.Equal(t, app.name+"\n", out)
				continue
			}
			var exit *exec.ExitError
			if assert.ErrorAs(t, err, &exit, "%s in %s", other.buildpack, app.app) {
				assert.Equal(t, 1, exit.ExitCode())
			}
			assert.Empty(t, out, "%s in %s", other.buildpack, app.app)
		}
	}
}

func TestDetectWantsMoreThanAName(t *testing.T) {
	for _, tc := range []struct{ buildpack, file, content string }{
		{"go", "go.mod", "module x\n"},                          // no Go file
		{"go", "main.go", "package main\n"},                     // no module
		{"ruby", "app.rb", "puts 'require \"sinatra\"'\n"},      // no Sinatra
		{"ruby", "lib/app.rb", "require 'sinatra'\n"},           // not in the root
		{"procfile", "Procfile", "worker: exec perl work.pl\n"}, // nothing for the web
		{"procfile", "Procfile", ""},
		{"static", "index.html", "<p>"}, // may belong to any kind of app
	} {
		build := newApp(t, map[string]string{tc.file: tc.content})
		_, err := runScript(t, tc.buildpack, "detect", nil, build)
		assert.Error(t, err, "%s: %s", tc.buildpack, tc.file)
	}
}

func TestStageAndRun(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.app, func(t *testing.T) {
			s.needs(t)
			build := copyApp(t, s.app)
			compile(t, s.buildpack, build)
			first := contents(t, build)

			// Once more, with a home directory: nothing changes, and nothing goes there.
			home := t.TempDir()
			out, err := runScript(t, s.buildpack, "compile", []string{"HOME=" + home}, build, cache)
			require.NoError(t, err, out)
			assert.Equal(t, first, contents(t, build), "compile changes what it made before")
			assert.Empty(t, contents(t, home))

			app := start(t, build, release(t, s.buildpack, build))
			body := app.mustGet("/")
			assert.Contains(t, body, s.body)
			status, _ := app.get("/there-is-no-such-page")
			assert.Equal(t, http.StatusNotFound, status)
			assert.Equal(t, 0, app.terminate())
			assert.Contains(t, app.output(), "/there-is-no-such-page", "requests are logged")
		})
	}
}

func TestCompileTellsWhatIsMissing(t *testing.T) {
	for _, s := range samples() {
		if _, err := os.Stat("/usr/local/go/bin/go"); err == nil && s.buildpack == "go" {
			continue // found without PATH
		}
		build := copyApp(t, s.app)
		out, err := runScript(t, s.buildpack, "compile", []string{"PATH=" + coreutils(t), "STATIC_SERVER=busybox"}, build, cache)
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s: %s", s.buildpack, out)
		assert.Equal(t, 1, exit.ExitCode(), out)
		assert.Regexp(t, `(?m)^ !     .*apt-get install \S+`, out)
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, buildpack, tool string
		files                 map[string]string
		says                  string
	}{
		{"python packages", "python", "python3", map[string]string{"app.py": "", "requirements.txt": "# web\nflask==3\n"}, "installs none"},
		{"python syntax", "python", "python3", map[string]string{"app.py": "def :\n"}, "app.py cannot be parsed"},
		{"node packages", "node", "node", map[string]string{"package.json": `{"dependencies":{"express":"4"}}`, "server.js": ""}, "Not in node_modules: express"},
		{"node without start", "node", "node", map[string]string{"package.json": `{}`}, "Nothing to start"},
		{"node broken", "node", "node", map[string]string{"package.json": `{`}, "cannot be read"},
		{"node null", "node", "node", map[string]string{"package.json": `null`}, "not an object"},
		{"go error", "go", "go", map[string]string{"go.mod": "module x\n\ngo 1.19\n", "main.go": "package main\n\nfunc main() { nowhere() }\n"}, "undefined: nowhere"},
		{"go modules", "go", "go", map[string]string{
			"go.mod":  "module x\n\ngo 1.19\n\nrequire example.com/y v1.0.0\n",
			"main.go": "package main\n\nimport _ \"example.com/y\"\n\nfunc main() {}\n",
		}, "go mod vendor"},
		{"static above", "static", "", map[string]string{"Staticfile": "root: ../..\n"}, "below the app"},
		{"static inside above", "static", "", map[string]string{"Staticfile": "root: a/../..\n"}, "below the app"},
		{"static absolute", "static", "", map[string]string{"Staticfile": "root: /etc\n"}, "below the app"},
		{"static command", "static", "", map[string]string{"Staticfile": "root: a; id\n"}, "below the app"},
		{"static missing", "static", "", map[string]string{"Staticfile": "root: public\n"}, "no directory 'public'"},
		{"procfile", "procfile", "", map[string]string{"Procfile": "web: exec there-is-no-such-program --port 1\n"}, "there-is-no-such-program"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.tool != "" {
				needs.Tool(t, tc.tool, tc.tool)
			}
			out, err := runScript(t, tc.buildpack, "compile", nil, newApp(t, tc.files), cache)
			assert.Error(t, err)
			assert.Contains(t, out, tc.says)
			assert.Contains(t, out, " !     ")
		})
	}
}

// An app could bring a link where the buildpacks keep their files.
func TestCompileFollowsNoLinkOfTheApp(t *testing.T) {
	needs.Tool(t, "node", "nodejs")
	build, elsewhere := copyApp(t, "node"), t.TempDir()
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(build, ".deakit")))
	compile(t, "node", build)
	assert.Empty(t, contents(t, elsewhere))
	assert.Equal(t, "node server.js", release(t, "node", build))
}

func TestNodeFindsPackagedPrograms(t *testing.T) {
	needs.Tool(t, "node", "nodejs")
	build := newApp(t, map[string]string{
		"package.json":           `{"dependencies":{"srv":"1"},"scripts":{"start":"srv --name \"a 'b'\""}}`,
		"node_modules/srv/index": "",
		"node_modules/.bin/srv":  "#!/bin/sh\necho \"$2\"\n",
	})
	require.NoError(t, os.Chmod(filepath.Join(build, "node_modules/.bin/srv"), 0o755))
	compile(t, "node", build)
	cmd := exec.Command("bash", "-c", release(t, "node", build))
	cmd.Dir = build
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "a 'b'\n", string(out))
}

func TestRackupFile(t *testing.T) {
	sinatra(t)
	needs.Tool(t, "rackup", "ruby-rack")
	build := newApp(t, map[string]string{
		"config.ru": `run ->(env) { [200, {"content-type" => "text/plain"}, ["rack says hello\n"]] }` + "\n",
	})
	compile(t, "ruby", build)
	app := start(t, build, release(t, "ruby", build))
	assert.Equal(t, "rack says hello\n", app.mustGet("/"))
	assert.Equal(t, 0, app.terminate())
}

func TestProcfileReleasesAllProcesses(t *testing.T) {
	build := newApp(t, map[string]string{"Procfile": "# how to start\nweb: exec perl a.pl \"$PORT\"\n\nworker: exec perl b.pl\n"})
	assert.Equal(t, map[string]string{"web": `exec perl a.pl "$PORT"`, "worker": "exec perl b.pl"}, processes(t, "procfile", build))
}

func TestScriptsAreExecutable(t *testing.T) {
	for _, s := range samples() {
		for _, script := range []string{"detect", "compile", "release"} {
			info, err := os.Stat(filepath.Join(s.buildpack, "bin", script))
			require.NoError(t, err)
			assert.NotZero(t, info.Mode()&0o100, "%s/bin/%s", s.buildpack, script)
		}
	}
}

func TestScriptsAreCleanShell(t *testing.T) {
	shellcheck := needs.Tool(t, "shellcheck", "shellcheck")
	scripts, err := filepath.Glob("*/bin/*")
	require.NoError(t, err)
	out, err := exec.Command(shellcheck, scripts...).CombinedOutput()
	require.NoError(t, err, strings.TrimSpace(string(out)))
}
