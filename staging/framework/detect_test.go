package framework_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/staging/framework"
)

// apps makes a file system of files and contents.
func files(contents map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range contents {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func TestDetect(t *testing.T) {
	for name, test := range map[string]struct {
		app  map[string]string
		want []string
	}{
		"sinatra":               {map[string]string{"app.rb": "x\nrequire 'sinatra'\n"}, []string{"sinatra"}},
		"sinatra/base":          {map[string]string{"app.rb": "require(\"sinatra/base\")"}, []string{"sinatra"}},
		"sinatra in a library":  {map[string]string{"lib/app.rb": "require 'sinatra'"}, nil},
		"hidden":                {map[string]string{".app.rb": "require 'sinatra'"}, nil},
		"rails is no sinatra":   {map[string]string{"app.rb": "require 'sinatra'", "config/environment.rb": ""}, nil},
		"rails3":                {map[string]string{"config.ru": "", "config/environment.rb": "", "config/application.rb": ""}, []string{"rails3"}},
		"rack":                  {map[string]string{"config.ru": ""}, []string{"rack"}},
		"sinatra with a rackup": {map[string]string{"config.ru": "", "app.rb": "require 'sinatra'"}, []string{"sinatra", "rack"}},
		"node":                  {map[string]string{"app.js": "x"}, []string{"node"}},
		"an empty file":         {map[string]string{"app.js": ""}, nil},
		"war":                   {map[string]string{"app.war": ""}, []string{"java_web", "spring", "grails", "lift"}},
		"exploded war":          {map[string]string{"WEB-INF/web.xml": ""}, []string{"java_web", "spring", "grails", "lift"}},
		"play":                  {map[string]string{"lib/play.play_2.9.1-2.0.jar": ""}, []string{"play"}},
		"play dist":             {map[string]string{"dist-1/lib/play.play_2.9.1-2.0.jar": ""}, []string{"play"}},
		"php":                   {map[string]string{"index.php": ""}, []string{"php"}},
		"python":                {map[string]string{"wsgi.py": "x"}, []string{"wsgi", "django"}},
		"erlang":                {map[string]string{"releases/1/x.rel": "x"}, []string{"otp_rebar"}},
		"nothing":               {map[string]string{"README": ""}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := framework.Detect(files(test.app), framework.Manifests())
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

func TestManifests(t *testing.T) {
	names := []string{}
	for _, m := range framework.Manifests() {
		names = append(names, m.Name)
		assert.NotEmpty(t, m.Runtimes, m.Name)
	}
	plugins := []string{}
	for _, plugin := range framework.Plugins() {
		plugins = append(plugins, plugin.Name())
	}
	assert.Equal(t, plugins, names)

	all, err := framework.ParseManifests([]byte(`{"a": {"runtimes": [{"r1": {"default": false}}, {"r2": {"default": true}}, "r3"]}, "b": {"disabled": true}}`))
	require.NoError(t, err)
	assert.Equal(t, []framework.Manifest{{Name: "a", Runtimes: []string{"r2", "r1", "r3"}}}, all)
	for _, bad := range []string{"[]", "a: [1", "a: {detection: x}", "a: {detection: [x]}"} {
		_, err := framework.ParseManifests([]byte(bad))
		require.Error(t, err, bad)
	}
}

func rules(t *testing.T, detection string) framework.Rules {
	t.Helper()
	all, err := framework.ParseManifests([]byte("a: {detection: " + detection + "}"))
	require.NoError(t, err)
	return all[0].Detection
}

func TestRules(t *testing.T) {
	app := files(map[string]string{"b.rb": "one\ntwo", "a.rb": "two\nthree", "lib/c.rb": "two", "d.txt": "x\xff\xfey"})
	for detection, want := range map[string]bool{
		`[]`:                                    true,
		`[{"*.rb": two}]`:                       true,
		`[{"*.rb": four}]`:                      false,
		`[{"*.rb": "^two$"}]`:                   true,
		`[{"*.rb": "one.two"}]`:                 false, // a dot is no line break
		`[{"*.rb": true}, {"x": false}]`:        true,
		`[{"*.rb": true, "x": false}]`:          true,
		`[{"*.rb": true, "a.rb": false}]`:       false,
		`[{"*.rb": true}, {"a.rb": ~}]`:         false, // anything else means that there must be none
		`[{"*.rb": one}, {"**/c.rb": two}]`:     true,
		`[{"*.rb": ""}]`:                        true,
		`[{"*.txt": "x[^a]+y"}]`:                true,
		`[{"*.rb": two, "*.py": two}]`:          false,
		`[{"*.none": false}, {"*.none": true}]`: false,
	} {
		got, err := rules(t, detection).Match(app)
		require.NoError(t, err, detection)
		assert.Equal(t, want, got, detection)
	}
	for range 20 {
		got, err := rules(t, `[{"x": true}, {"lib/*.rb": two}, {"*.rb": two, "b.rb": one}]`).Files(app)
		require.NoError(t, err)
		assert.Equal(t, []string{"lib/c.rb", "a.rb", "b.rb", "b.rb"}, got, "in the order of the rules, sorted for each")
	}
	for _, detection := range []string{`[{"*.rb": "("}]`, `[{"*.rb": "(?=x)"}]`, `[{"[a": "x"}]`, `[{"*.rb": "` + strings.Repeat("x", 3000) + `"}]`} {
		_, err := rules(t, detection).Match(app)
		require.ErrorIs(t, err, framework.ErrRules, detection)
	}
	_, err := framework.ParseManifests([]byte("a: {detection: [" + strings.Repeat("{x: true},", 200) + "]}"))
	require.ErrorIs(t, err, framework.ErrRules)
}

func TestDetectionIsBounded(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo.rb"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.rb"), 0o700))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "out.rb")))
	for _, name := range []string{"huge1.rb", "huge2.rb"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("root"), 0o600))
		require.NoError(t, os.Truncate(filepath.Join(dir, name), 1<<40))
	}
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	found, err := rules(t, `[{"*.rb": root}]`).Files(root.FS())
	require.NoError(t, err)
	assert.Equal(t, []string{"huge1.rb", "huge2.rb"}, found, "neither a FIFO, nor a directory, nor a file elsewhere")

	_, err = rules(t, `[`+strings.Repeat(`{"huge*.rb": root},`, 40)+`]`).Files(root.FS())
	require.ErrorIs(t, err, framework.ErrRules, "more than is looked at")
}

func FuzzRules(f *testing.F) {
	app := files(map[string]string{"a.rb": "x", "lib/b.rb": "y"})
	f.Add("*.rb", "^x$")
	f.Add("**/*.{rb,js}", "(a|b)*")
	f.Fuzz(func(t *testing.T, glob, pattern string) {
		all := framework.Rules{{Glob: glob, Pattern: pattern, Present: pattern == ""}}
		matched, err := all.Match(app)
		found, filesErr := all.Files(app)
		if (err == nil) != (filesErr == nil) && pattern != "" {
			t.Fatalf("Match says %v, Files says %v", err, filesErr)
		}
		if err == nil && pattern != "" && matched != (len(found) > 0) {
			t.Fatalf("Match says %v, Files finds %v", matched, found)
		}
		if !slices.IsSorted(found) {
			t.Fatalf("not sorted: %v", found)
		}
	})
}
