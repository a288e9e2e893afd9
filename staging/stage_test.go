package staging_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(stagerEnv); dir != "" {
		if err := stageAlone(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// headers returns the headers of the members of a gzip-compressed tar file.
func headers(t testing.TB, data []byte) (all []*tar.Header) {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	for archive := tar.NewReader(gz); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, header)
	}
}

const patience = 20 * time.Second

// hello is a buildpack that works for every app.
var hello = stagetest.Scripts("echo Hello", "echo compiling", `echo "default_process_types: {web: run hello}"`)

func classic(t testing.TB, key string, files stagetest.Files) buildpack.Buildpack {
	t.Helper()
	bp, err := buildpack.NewClassic(key, files.Dir(t))
	require.NoError(t, err)
	return bp
}

// A stage is one call of Stage with what it made.
type stage struct {
	task      staging.Task
	limits    container.Limits
	droplet   bytes.Buffer
	cache     bytes.Buffer
	log       bytes.Buffer
	container container.Container
}

func newStage(t testing.TB, app stagetest.Files, buildpacks ...buildpack.Buildpack) *stage {
	return &stage{task: staging.Task{App: stagetest.Save(t, app.Zip(t)), Buildpacks: buildpacks}}
}

func (s *stage) run(t testing.TB, ctx context.Context) (staging.Result, error) {
	t.Helper()
	s.container = stagetest.Container(t, container.Spec{BindMounts: s.task.Mounts(), Limits: s.limits})
	log, err := staging.NewLog("", staging.LogOptions{Copy: &s.log})
	require.NoError(t, err)
	defer log.Close()
	s.task.Droplet, s.task.NewCache = &s.droplet, &s.cache
	return staging.Stage(ctx, s.task, staging.Parts{Container: s.container, Log: log})
}

func (s *stage) ok(t testing.TB) staging.Result {
	t.Helper()
	result, err := s.run(t, t.Context())
	require.NoError(t, err, s.log.String())
	return result
}

func (s *stage) fails(t testing.TB, kind staging.Kind) *staging.Error {
	t.Helper()
	_, err := s.run(t, t.Context())
	var failed *staging.Error
	require.ErrorAs(t, err, &failed)
	assert.ErrorIs(t, err, kind)
	info, err := s.container.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, container.StateStopped, info.State)
	usage, err := s.container.Usage(t.Context())
	require.NoError(t, err)
	assert.Zero(t, usage.Processes)
	return failed
}

var app = stagetest.Files{"bin/run": "#!/bin/sh\necho hi\n", ".hidden": "h", "dir/file": "f", "link -> dir/file": ""}

func TestStage(t *testing.T) {
	s := newStage(t, app, classic(t, "k1", hello))
	result := s.ok(t)
	assert.Equal(t, "Hello", result.DetectedBuildpack)
	assert.Equal(t, "k1", result.BuildpackKey)
	assert.Equal(t, "run hello", result.StartCommand)
	assert.Equal(t, map[string]string{"web": "run hello"}, result.ProcessTypes)
	sum := sha1.Sum(s.droplet.Bytes())
	assert.Equal(t, hex.EncodeToString(sum[:]), result.Droplet.SHA1)
	var steps []string
	for _, step := range result.Steps {
		steps = append(steps, step.Name)
	}
	assert.Equal(t, []string{"prepare", "detect", "compile", "release", "pack"}, steps)

	members := stagetest.ReadTgz(t, s.droplet.Bytes())
	for name := range members {
		assert.True(t, strings.HasPrefix(name, "./"), name)
	}
	assert.Contains(t, members, "./tmp/")
	assert.Equal(t, "h", members["./app/.hidden"])
	assert.Equal(t, "-> dir/file", members["./app/link"])
	assert.Equal(t, app["bin/run"], members["./app/bin/run"])
	assert.Equal(t, s.log.String(), members["./logs/staging_task.log"])
	assert.Regexp(t, `^-----> Downloaded app package \([0-9.]+K\)\ncompiling\n$`, s.log.String())

	info, err := droplet.ReadInfo(t.Context(), bytes.NewReader(s.droplet.Bytes()), droplet.Limits{})
	require.NoError(t, err)
	assert.Equal(t, droplet.StagingInfo{
		BuildpackPath: s.task.Buildpacks[0].Path(), DetectedBuildpack: "Hello", StartCommand: "run hello",
		EffectiveProcfile: map[string]string{"web": "run hello"},
		Buildpacks:        []droplet.BuildpackInfo{{Key: "k1", Name: "Hello"}},
	}, info)
}

// homed is a buildpack that wants the app in the home of the app user.
type homed struct{ buildpack.Buildpack }

func (homed) Root() string { return "/home/vcap" }

func TestBuildpackAsksForItsRoot(t *testing.T) {
	homely := homed{classic(t, "home", hello)}
	never := classic(t, "never", stagetest.Files{"bin/detect": "#!/bin/sh\nexit 1\n", "bin/compile": "#!/bin/sh\n"})
	for name, list := range map[string][]buildpack.Buildpack{"alone": {homely}, "behind others": {never, homely}} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, app, list...)
			result := s.ok(t)
			assert.Equal(t, "home", result.BuildpackKey)
			members := stagetest.ReadTgz(t, s.droplet.Bytes())
			assert.Equal(t, "h", members["./app/.hidden"])
			assert.Contains(t, members, "./logs/staging_task.log")
			info, err := s.container.Info(t.Context())
			require.NoError(t, err)
			assert.FileExists(t, filepath.Join(info.HostRoot, "/home/vcap/app/.hidden"))
		})
	}
}

func TestSources(t *testing.T) {
	for name, source := range map[string]string{
		"zip": stagetest.Save(t, app.Zip(t)), "tgz": stagetest.Save(t, app.Tgz(t)), "directory": app.Dir(t),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil, classic(t, "", hello))
			s.task.App = source
			s.ok(t)
			members := stagetest.ReadTgz(t, s.droplet.Bytes())
			assert.Equal(t, "f", members["./app/dir/file"])
			assert.Equal(t, "-> dir/file", members["./app/link"])
			assert.Equal(t, "h", members["./app/.hidden"])
		})
	}
}

func TestTarThatBeginsLikeAZip(t *testing.T) {
	gz, err := gzip.NewReader(bytes.NewReader(stagetest.Files{"PKGBUILD": "arch"}.Tgz(t)))
	require.NoError(t, err)
	plain, err := io.ReadAll(gz)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(plain, []byte("PK")))
	s := newStage(t, nil, classic(t, "", hello))
	s.task.App = stagetest.Save(t, plain)
	s.ok(t)
	assert.Equal(t, "arch", stagetest.ReadTgz(t, s.droplet.Bytes())["./app/PKGBUILD"])
}

func TestChoiceOfBuildpack(t *testing.T) {
	named := func(name, detect string) stagetest.Files {
		return stagetest.Scripts("echo "+name+" looks >&2; echo "+name+"; "+detect, "echo compiled by "+name, "echo '{}'")
	}
	no, yes, also := classic(t, "z-no", named("no", "exit 1")), classic(t, "y-yes", named("yes", "exit 0")), classic(t, "a-also", named("also", "exit 0"))
	for _, test := range []struct {
		name               string
		change             func(*staging.Task)
		detected, key, log string
	}{
		{"order of the task", nil, "yes", "y-yes", "no looks\nyes looks\ncompiled by yes\n"},
		{"key", func(t *staging.Task) { t.BuildpackKey = "z-no" }, "", "z-no", "compiled by no\n"},
		{"custom", func(t *staging.Task) { t.Custom, t.BuildpackKey = also, "z-no" }, "", "a-also", "compiled by also\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, app, no, yes, also)
			if test.change != nil {
				test.change(&s.task)
			}
			result := s.ok(t)
			assert.Equal(t, test.detected, result.DetectedBuildpack)
			assert.Equal(t, test.key, result.BuildpackKey)
			_, log, _ := strings.Cut(s.log.String(), "\n")
			assert.Equal(t, test.log, log)
		})
	}
}

func TestStartCommand(t *testing.T) {
	procfile := func(text string) stagetest.Files { return stagetest.Files{"Procfile": text} }
	const released = "echo released >&2; echo 'default_process_types: {web: from release, worker: w}'"
	for _, test := range []struct {
		name    string
		app     stagetest.Files
		command string
		release string
		want    string
		types   map[string]string
		ran     bool // bin/release
	}{
		{"user, Procfile and release", procfile("web: from procfile"), "from user", released, "from user", map[string]string{"web": "from procfile"}, false},
		{"user and release", app, "from user", released, "from user", map[string]string{"web": "from release", "worker": "w"}, true},
		{"Procfile and release", procfile("web: from procfile"), "", released, "from procfile", map[string]string{"web": "from procfile"}, false},
		{"Procfile without web", procfile("other: o"), "", released, "from release", map[string]string{"other": "o"}, true},
		{"linked Procfile", stagetest.Files{"Procfile -> etc/Procfile": "", "etc/Procfile": "web: linked"}, "", released, "linked", map[string]string{"web": "linked"}, false},
		{"release", app, "", released, "from release", map[string]string{"web": "from release", "worker": "w"}, true},
		{"none", app, "", "echo '{}'", "", map[string]string{}, false},
		{"no bin/release", app, "", "", "", map[string]string{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, test.app, classic(t, "bp", stagetest.Scripts("exit 0", "exit 0", test.release)))
			s.task.StartCommand = test.command
			result := s.ok(t)
			assert.Equal(t, test.want, result.StartCommand)
			assert.Equal(t, test.types, result.ProcessTypes)
			assert.Equal(t, test.ran, strings.Contains(s.log.String(), "released"))
			info, err := droplet.ReadInfo(t.Context(), &s.droplet, droplet.Limits{})
			require.NoError(t, err)
			assert.Equal(t, test.want, info.StartCommand)
		})
	}
}

func TestEnvironment(t *testing.T) {
	var services messaging.Services
	require.NoError(t, json.Unmarshal([]byte(`[{"label":"pg","name":"db","credentials":{"uri":"postgresql://u:p$w@h/d"},"version":"1"}]`), &services))
	nasty := "a 'b' \"c\" $HOME `id` \\ = \n last"
	s := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", `env -0 >"$1/env"; pwd -P >"$1/pwd"`, "")))
	s.task.Timeout = 900 * time.Second
	s.task.Environment = staging.Environment{
		Application: json.RawMessage(`{"application_name":"web"}`), Services: services, MemoryMB: 256,
		User: []string{"NASTY=" + nasty, "MEMORY_LIMIT=mine", "EMPTY", "=nameless", "TWICE=1", "TWICE=2"},
	}
	t.Setenv("SECRET_OF_THE_HOST", "x")
	s.ok(t)
	members := stagetest.ReadTgz(t, s.droplet.Bytes())
	env := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(members["./app/env"], "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	for name, want := range map[string]string{
		"VCAP_APPLICATION": `{"application_name":"web"}`,
		"VCAP_SERVICES":    `{"pg":[{"name":"db","label":"pg","credentials":{"uri":"postgresql://u:p$w@h/d"}}]}`,
		"DATABASE_URL":     "postgres://u:p$w@h/d", "STAGING_TIMEOUT": "900.0", "MEMORY_LIMIT": "mine",
		"NASTY": nasty, "EMPTY": "", "TWICE": "2", "USER": "vcap",
	} {
		got, ok := env[name]
		assert.True(t, ok, name)
		assert.Equal(t, want, got, name)
	}
	for _, name := range []string{"SECRET_OF_THE_HOST", "PORT", "TMPDIR"} {
		assert.NotContains(t, env, name)
	}
	assert.Equal(t, "staged\n", members["./app/pwd"][strings.LastIndex(members["./app/pwd"], "/")+1:])

	s = newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", `env -0 >"$1/env"`, "")))
	s.ok(t)
	env0 := stagetest.ReadTgz(t, s.droplet.Bytes())["./app/env"]
	assert.Contains(t, env0, "VCAP_SERVICES={}\x00")
	assert.NotContains(t, env0, "DATABASE_URL")
	assert.NotContains(t, env0, "MEMORY_LIMIT")
}

func TestCacheRoundTrip(t *testing.T) {
	bp := classic(t, "bp", stagetest.Scripts("exit 0", `ls "$2"; rm -f "$2/old"; test -e "$2/new" || touch "$2/old"; touch "$2/new"`, ""))
	s := newStage(t, app, bp)
	s.ok(t)
	assert.Equal(t, map[string]string{"./": "", "./old": "", "./new": ""}, stagetest.ReadTgz(t, s.cache.Bytes()))

	second := newStage(t, app, bp)
	second.task.Cache = stagetest.Save(t, s.cache.Bytes())
	second.ok(t)
	assert.Regexp(t, `(?s)^-----> Downloaded app package \(.*\)\n-----> Downloaded app buildpack cache \(4\.0K\)\nnew\nold\n$`, second.log.String())
	assert.Equal(t, map[string]string{"./": "", "./new": ""}, stagetest.ReadTgz(t, second.cache.Bytes()), "what was removed does not come back")

	gone := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", `rm -rf "$2"`, "")))
	gone.ok(t)
	assert.Equal(t, map[string]string{"./": ""}, stagetest.ReadTgz(t, gone.cache.Bytes()))
}

func TestLayoutOfTheContainer(t *testing.T) {
	dir := t.TempDir()
	files := stagetest.Scripts("exit 0", fmt.Sprintf(`root=$(cd "$1/../../.." && pwd); ls "$root/app" "$root/tmp/staged"; touch "$1/made"
		case "$0" in "$root"%s/bin/compile) ;; *) exit 9 ;; esac
		rm -rf "$root/tmp/staged/logs" && ln -s /etc "$1/etc"`, dir), "")
	files.Write(t, dir)
	bp, err := buildpack.NewClassic("bp", dir)
	require.NoError(t, err)
	s := newStage(t, app, bp)
	s.ok(t)
	assert.Contains(t, s.log.String(), "support_heroku_buildpacks")
	members := stagetest.ReadTgz(t, s.droplet.Bytes())
	assert.Equal(t, "-> /etc", members["./app/etc"])
	assert.Contains(t, members["./logs/staging_task.log"], "support_heroku_buildpacks")
}
