package runtimes_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/staging/framework/runtimes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program writes a shell script and returns its path.
func program(t *testing.T, dir, name, script string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	return file
}

func catalogue(t *testing.T, text string) runtimes.Catalogue {
	t.Helper()
	c, err := runtimes.ParseCatalogue([]byte(text))
	require.NoError(t, err)
	return c
}

const configured = `
ruby19:
  version: 1.9.2p180
  executable: ruby-for-test
  version_flag: "-e 'puts RUBY_VERSION'"
  version_output: 1.9.2
  additional_checks: "-e 'puts RUBY_PATCHLEVEL == 180'"
  aliases: [ruby193]
  environment: {BUNDLE_GEMFILE: ~, PATH: "DIR:$PATH"}
unchecked:
  executable: ruby-for-test
off:
  executable: ruby-for-test
  disabled: true
`

// fakeRuby understands what the catalogue asks.
func fakeRuby(version, patch string) string {
	return `case "$1,$2" in
"-e,puts RUBY_VERSION") echo ` + version + ` ;;
"-e,puts RUBY_PATCHLEVEL == 180") echo ` + patch + ` >&2 ;;
*) echo "what is $*"; exit 1 ;;
esac`
}

func TestResolve(t *testing.T) {
	for name, test := range map[string]struct {
		asked          runtimes.Runtime
		version, patch string
		strict         bool
		want           error
		warning        string
		canonical      string
	}{
		"configured":                    {runtimes.Runtime{Name: "ruby19", Version: "1.9.2p180"}, "1.9.2", "true", true, nil, "", "ruby19"},
		"True counts":                   {runtimes.Runtime{Name: "ruby19"}, "1.9.2", "True", true, nil, "", "ruby19"},
		"unknown, strict":               {runtimes.Runtime{Name: "ruby18"}, "1.9.2", "true", true, runtimes.ErrUnknown, "", ""},
		"alias, strict":                 {runtimes.Runtime{Name: "ruby193"}, "1.9.2", "true", true, runtimes.ErrUnknown, "", ""},
		"alias, relaxed":                {runtimes.Runtime{Name: "ruby193", Version: "1.9.3"}, "1.9.2", "true", false, nil, "The app asks for ruby193 1.9.3 and gets 1.9.2.", "ruby19"},
		"disabled":                      {runtimes.Runtime{Name: "off"}, "1.9.2", "true", true, runtimes.ErrUnknown, "", ""},
		"no version_output, strict":     {runtimes.Runtime{Name: "unchecked"}, "1.9.2", "true", true, runtimes.ErrCheck, "", ""},
		"other version, strict":         {runtimes.Runtime{Name: "ruby19"}, "3.1.2", "true", true, runtimes.ErrCheck, "", ""},
		"other version, relaxed":        {runtimes.Runtime{Name: "ruby19"}, "3.1.2", "true", false, nil, `it says "3.1.2", which does not match "1.9.2"`, "ruby19"},
		"additional check, strict":      {runtimes.Runtime{Name: "ruby19"}, "1.9.2", "false", true, runtimes.ErrCheck, "", ""},
		"additional check, relaxed":     {runtimes.Runtime{Name: "ruby19"}, "1.9.2", "false", false, nil, `its additional check says "false", not true`, "ruby19"},
		"check fails, relaxed":          {runtimes.Runtime{Name: "other", Executable: "ruby-for-test", VersionFlag: "--bad"}, "1.9.2", "true", false, runtimes.ErrCheck, "", ""},
		"not in the catalogue, relaxed": {runtimes.Runtime{Name: "other", Executable: "ruby-for-test", VersionFlag: "-e 'puts RUBY_VERSION'", VersionOutput: "^1"}, "1.9.2", "true", false, nil, "", "other"},
		"catalogue's check wins":        {runtimes.Runtime{Name: "ruby19", VersionFlag: "--bad", VersionOutput: "."}, "1.9.2", "true", true, nil, "", "ruby19"},
		"bad pattern, strict":           {runtimes.Runtime{Name: "unchecked", VersionFlag: "-e 'puts RUBY_VERSION'", VersionOutput: "("}, "1.9.2", "true", true, runtimes.ErrCheck, "", ""},
		"open quotation":                {runtimes.Runtime{Name: "unchecked", VersionFlag: "-e 'puts"}, "1.9.2", "true", false, runtimes.ErrCheck, "", ""},
		"no executable":                 {runtimes.Runtime{Name: "none-for-test"}, "1.9.2", "true", false, runtimes.ErrNotInstalled, "", ""},
		"relative path":                 {runtimes.Runtime{Name: "x", Executable: "../ruby"}, "1.9.2", "true", false, runtimes.ErrNotInstalled, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := program(t, dir, "ruby-for-test", fakeRuby(test.version, test.patch))
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			r := runtimes.Resolver{System: runtimes.Host{}, Catalogue: catalogue(t, configured), Strict: test.strict}
			got, err := r.Resolve(t.Context(), test.asked)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
				assert.Contains(t, err.Error(), test.asked.Name)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, file, got.Executable)
			assert.Equal(t, test.version, got.Found)
			assert.Equal(t, test.canonical, got.Canonical)
			assert.Equal(t, test.asked.Name, got.Advertised)
			assert.Equal(t, test.asked.Version, got.Version)
			if test.warning == "" {
				assert.Empty(t, got.Warnings)
			} else {
				assert.Contains(t, strings.Join(got.Warnings, "\n"), test.warning)
			}
		})
	}
}

func TestWhereExecutablesAreLookedFor(t *testing.T) {
	inRuntime, inSystem, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("PATH", inSystem+":"+os.Getenv("PATH"))
	system := program(t, inSystem, "tool-for-test", "echo 1.0")
	absolute := program(t, elsewhere, "tool-for-test", "echo 1.0")
	r := runtimes.Resolver{System: runtimes.Host{}, Catalogue: catalogue(t, `tool: {executables: [absent-for-test, tool-for-test], version_output: .}`)}
	find := func(asked runtimes.Runtime) string {
		got, err := r.Resolve(t.Context(), asked)
		require.NoError(t, err)
		return got.Executable
	}
	assert.Equal(t, absolute, find(runtimes.Runtime{Name: "tool", Executable: absolute}), "an absolute path")
	assert.Equal(t, system, find(runtimes.Runtime{Name: "tool", Executable: "/absent/tool"}), "the catalogue's where the asked one is absent")
	assert.Equal(t, system, find(runtimes.Runtime{Name: "tool"}))

	env := map[string]string{"PATH": inRuntime + ":$PATH"}
	assert.Equal(t, system, find(runtimes.Runtime{Name: "tool", Environment: env}), "what is not in the runtime's PATH is in the system's")
	mine := program(t, inRuntime, "tool-for-test", "echo 1.0")
	assert.Equal(t, mine, find(runtimes.Runtime{Name: "tool", Environment: env}))

	require.NoError(t, os.Chmod(mine, 0o644))
	assert.Equal(t, system, find(runtimes.Runtime{Name: "tool", Environment: env}), "a file that is no program")
}

func TestJavaHome(t *testing.T) {
	home := t.TempDir()
	java := program(t, filepath.Join(home, "bin"), "java", `echo 'openjdk version "17.0.1" 2021' >&2`)
	r := runtimes.Resolver{System: runtimes.Host{}, Catalogue: runtimes.Today()}
	got, err := r.Resolve(t.Context(), runtimes.Runtime{Name: "java7", Version: "1.7", Environment: map[string]string{"JAVA_HOME": home}})
	require.NoError(t, err)
	assert.Equal(t, java, got.Executable)
	assert.Equal(t, "17.0.1", got.Found, "of standard error, too")
	assert.Equal(t, []string{"The app asks for java7 1.7 and gets 17.0.1."}, got.Warnings)

	t.Setenv("JAVA_HOME", home)
	got, err = r.Resolve(t.Context(), runtimes.Runtime{Name: "java"})
	require.NoError(t, err)
	assert.Equal(t, java, got.Executable)
}

func TestToday(t *testing.T) {
	all := runtimes.Today()
	assert.Equal(t, []string{"erlang", "java", "node", "php", "python3", "ruby"}, all.Names(false))
	names := all.Names(true)
	for _, name := range []string{"ruby18", "ruby19", "ruby193", "node", "node06", "node08", "java", "java7", "php", "python2", "erlangR14B01", "erlangR14B02"} {
		assert.Contains(t, names, name, "the frameworks' manifests name it")
	}
	assert.Len(t, names, len(slices.Compact(slices.Clone(names))), "no name means two runtimes")
	for _, e := range all {
		assert.NotEmpty(t, e.VersionOutput, e.Name)
		assert.NotEmpty(t, e.Executables, e.Name)
	}
}

func TestParse(t *testing.T) {
	r, err := runtimes.Parse([]byte(`{"name": "node06", "version": "0.6.8", "executable": "node", "debug_modes": ["run"],
		"debug_env": {"run": ["A=1", "B=2"]}, "environment": {"X": "1", "EMPTY": null}, "npm": "/usr/bin/npm", "status": {"name": "current"}}`))
	require.NoError(t, err)
	assert.Equal(t, runtimes.Runtime{
		Name: "node06", Version: "0.6.8", Executable: "node", NPM: "/usr/bin/npm", DebugModes: []string{"run"},
		DebugEnv: map[string][]string{"run": {"A=1", "B=2"}}, Environment: map[string]string{"X": "1", "EMPTY": ""},
	}, r)
	r, err = runtimes.Parse([]byte("name: java\nversion: 1.6\n"))
	require.NoError(t, err)
	assert.Equal(t, "1.6", r.Version, "a number is taken as it was written")
	for _, bad := range []string{"[1]", "x", "{", "a: [1"} {
		_, err := runtimes.Parse([]byte(bad))
		require.Error(t, err, bad)
	}
	for _, bad := range []string{"[1]", "a: 1", "a: [1"} {
		_, err := runtimes.ParseCatalogue([]byte(bad))
		require.Error(t, err, bad)
	}
	c, err := runtimes.ParseCatalogue(nil)
	require.NoError(t, err)
	assert.Empty(t, c)
}

func TestCheckThatDoesNotEnd(t *testing.T) {
	file := program(t, t.TempDir(), "slow", "exec sleep 600")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("the test has waited long enough"))
	defer cancel()
	_, err := runtimes.Host{}.Output(ctx, file)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestOutputIsBounded(t *testing.T) {
	file := program(t, t.TempDir(), "loud", "head -c 1000000 /dev/zero; sleep 600 & echo left behind >&2")
	out, err := runtimes.Host{}.Output(t.Context(), file)
	require.NoError(t, err, "a process that keeps the output open holds nobody up")
	assert.Len(t, out, runtimes.MaxOutput)
}

func FuzzParseCatalogue(f *testing.F) {
	f.Add([]byte(configured))
	f.Add([]byte(`{"a": {"environment": [1], "debug_env": {"x": 1}, "aliases": "b"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := runtimes.ParseCatalogue(data)
		if err != nil && c != nil {
			t.Error("an error comes with a catalogue")
		}
		_ = c.Names(true)
	})
}
