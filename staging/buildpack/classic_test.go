package buildpack_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/buildpack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin makes a container with an app in which the buildpack can work.
func begin(t *testing.T, bp buildpack.Buildpack) (buildpack.Build, *bytes.Buffer) {
	t.Helper()
	c := stagetest.Container(t, container.Spec{BindMounts: bp.Mounts()})
	require.NoError(t, containerfs.WriteFiles(t.Context(), c, "/tmp", containerfs.Directory("cache"),
		containerfs.Directory("staged/app"), containerfs.Text("staged/app/hello.txt", []byte("hello"))))
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	log := &bytes.Buffer{}
	return buildpack.Build{
		Container: c, Info: info, AppDir: "/tmp/staged/app", CacheDir: "/tmp/cache", Root: "/tmp/staged",
		Env: []string{"GREETING=it's $HOME\n\"here\""}, Log: log,
	}, log
}

func classic(t *testing.T, files stagetest.Files) *buildpack.Classic {
	t.Helper()
	bp, err := buildpack.NewClassic("key", files.Dir(t))
	require.NoError(t, err)
	return bp
}

func TestClassic(t *testing.T) {
	files := stagetest.Scripts(
		`test "$#" = 1 && test -f "$1/hello.txt" && echo "  Hello  "; echo looking >&2`,
		`test "$#" = 2 && test "$(basename "$PWD")" = staged
		 cp "$1/hello.txt" "$2/kept.txt"; cat "$(dirname "$0")/../data.txt"; printf %s "$GREETING" >"$1/env.txt"
		 echo one; echo two >&2; echo three`,
		`echo nothing to see >&2; echo "default_process_types: {web: run $(basename "$1"), worker: work}"`,
	)
	files["data.txt"] = "data of the buildpack\n"
	bp := classic(t, files)
	build, log := begin(t, bp)

	name, ok, err := bp.Detect(t.Context(), build)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "Hello", name)
	assert.Equal(t, "looking\n", log.String())
	log.Reset()

	require.NoError(t, bp.Compile(t.Context(), build))
	assert.Equal(t, "data of the buildpack\none\ntwo\nthree\n", log.String(), "stdout and stderr, in their order")
	for name, want := range map[string]string{"/tmp/cache/kept.txt": "hello", "/tmp/staged/app/env.txt": "it's $HOME\n\"here\""} {
		data, err := containerfs.ReadFile(t.Context(), build.Container, name, 1000)
		require.NoError(t, err)
		assert.Equal(t, want, string(data))
	}

	release, err := bp.Release(t.Context(), build)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"web": "run app", "worker": "work"}, release.ProcessTypes)
}

func TestDetect(t *testing.T) {
	for _, test := range []struct {
		name, detect, want, log string
		ok                      bool
	}{
		{"no", "echo no; exit 1", "no", "", false},
		{"silent", "exit 0", "", "", true},
		{"very long name", "head -c 3000 /dev/zero | tr '\\0' x", strings.Repeat("x", 1024), "", true},
		{"endless name", "head -c 300000 /dev/zero | tr '\\0' x", strings.Repeat("x", 1024), "", true},
		{"missing", "", "", "Failed to run buildpack detection script with error: bin/detect: ", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			bp := classic(t, stagetest.Scripts(test.detect, "exit 0", ""))
			build, log := begin(t, bp)
			name, ok, err := bp.Detect(t.Context(), build)
			require.NoError(t, err)
			assert.Equal(t, test.ok, ok)
			assert.Equal(t, test.want, name)
			assert.Contains(t, log.String(), test.log)
		})
	}
}

func TestCompileFails(t *testing.T) {
	for _, test := range []struct {
		name, compile string
		status        container.ExitStatus
		text          string
	}{
		{"status", "exit 7", 7, "bin/compile exited with status 7"},
		{"signal", "kill -9 $$", 137, "bin/compile exited with status 137"},
		{"missing", "", 0, "bin/compile: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			bp := classic(t, stagetest.Scripts("exit 0", test.compile, ""))
			build, _ := begin(t, bp)
			var failed *buildpack.ScriptError
			require.ErrorAs(t, bp.Compile(t.Context(), build), &failed)
			assert.Equal(t, test.status, failed.Status)
			assert.Contains(t, failed.Error(), test.text)
		})
	}
}

func TestRelease(t *testing.T) {
	for _, test := range []struct {
		name, release string
		want          map[string]string
	}{
		{"missing", "", nil},
		{"nothing", "exit 0", nil},
		{"null", "echo null", nil},
		{"text", "echo ready", nil},
		{"list", "echo '[a, b]'", nil},
		{"null process types", "echo 'default_process_types:'", nil},
		{"a list of process types", "echo 'default_process_types: [web]'", nil},
		{"other keys", "echo 'addons: [a]'; echo 'config_vars: {A: b}'", nil},
		{"odd values", "echo 'default_process_types: {web: 1, a: null, b: [x], c: {d: e}, \"\": f, g: !x y, h: \"\"}'", map[string]string{"web": "1", "g": "y"}},
		{"the last one counts", "echo 'default_process_types: {web: a, web: b}'", map[string]string{"web": "b"}},
		{"document marks", "echo '---'; echo 'default_process_types:'; echo '  web: a # b'; echo '...'", map[string]string{"web": "a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bp := classic(t, stagetest.Scripts("exit 0", "exit 0", test.release))
			build, _ := begin(t, bp)
			release, err := bp.Release(t.Context(), build)
			require.NoError(t, err)
			assert.Equal(t, test.want, release.ProcessTypes)
		})
	}
}

func TestReleaseFails(t *testing.T) {
	for _, test := range []struct {
		name, release, output, text string
	}{
		{"status", "echo some output; exit 1", "some output\n", "bin/release exited with status 1"},
		{"no YAML", "echo 'web: foo: bar'", "web: foo: bar\n", "its output is no YAML"},
		{"too much", "echo 'a: b'; head -c 70000 /dev/zero | tr '\\0' '#'", "a: b\n", "more than 65536 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bp := classic(t, stagetest.Scripts("exit 0", "exit 0", test.release))
			build, _ := begin(t, bp)
			_, err := bp.Release(t.Context(), build)
			var failed *buildpack.ScriptError
			require.ErrorAs(t, err, &failed)
			assert.True(t, strings.HasPrefix(failed.Output, test.output), failed.Output)
			assert.ErrorContains(t, err, test.text)
		})
	}
}

func TestCompileEndsWithItsContext(t *testing.T) {
	bp := classic(t, stagetest.Scripts("exit 0", "echo begun; sleep 1000 & sleep 1000", ""))
	build, _ := begin(t, bp)
	begun := make(chan struct{})
	build.Log = writerFunc(func(p []byte) (int, error) { close(begun); return len(p), nil })
	reason := errors.New("a reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-begun; cancel(reason) }()
	assert.ErrorIs(t, bp.Compile(ctx, build), reason)
	require.Eventually(t, func() bool {
		info, err := build.Container.Info(t.Context())
		return err == nil && len(info.Processes) == 0
	}, 10*time.Second, 5*time.Millisecond)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestNewClassicNeedsADirectory(t *testing.T) {
	_, err := buildpack.NewClassic("", t.TempDir()+"/none")
	assert.ErrorContains(t, err, "no such file")
	_, err = buildpack.NewClassic("", stagetest.Save(t, nil))
	assert.ErrorContains(t, err, "not a directory")
}
