package staging_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	assert.Empty(t, info.Processes)
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
	}, info)
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

func TestPackageRefused(t *testing.T) {
	for name, test := range map[string]struct {
		data []byte
		text string
	}{
		"way out in a zip":    {stagetest.Files{"../../evil": "x"}.Zip(t), `"../../evil" refused`},
		"way out in a tgz":    {stagetest.Files{"../../evil": "x"}.Tgz(t), `"../../evil" refused`},
		"absolute":            {stagetest.Files{"/evil": "x"}.Zip(t), `"/evil" refused`},
		"through a link":      {stagetest.Files{"a -> /": "", "a/evil": "x"}.Zip(t), `refused`},
		"bomb":                {stagetest.Files{"zeros": strings.Repeat("\x00", 2<<20)}.Zip(t), "limit exceeded"},
		"bomb in a tgz":       {stagetest.Files{"zeros": strings.Repeat("\x00", 2<<20)}.Tgz(t), "limit exceeded"},
		"HTML":                {[]byte("<html>not found</html>"), "neither a zip file nor a tar file"},
		"empty":               {nil, "it is empty"},
		"cut off":             {stagetest.Files{"a": strings.Repeat("text", 1000)}.Tgz(t)[:50], "EOF"},
		"gzip of something":   {gzipped(t, "something"), "EOF"},
		"damaged zip":         {append([]byte("PK"), make([]byte, 100)...), "zip: not a valid zip file"},
		"gzip of a long text": {gzipped(t, strings.Repeat("something", 1000)), "invalid tar header"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil, classic(t, "", hello))
			s.task.App = stagetest.Save(t, test.data)
			s.task.Limits = droplet.Limits{MaxBytes: 1 << 20}
			failed := s.fails(t, staging.PackageRefused)
			assert.Equal(t, staging.StepPrepare, failed.Phase)
			assert.ErrorContains(t, failed, test.text)
			assert.Contains(t, s.log.String(), "Staging failed: the app package was refused: ")
		})
	}
}

func gzipped(t testing.TB, text string) []byte {
	var out bytes.Buffer
	_, err := droplet.Compress(t.Context(), &out, strings.NewReader(text), 0)
	require.NoError(t, err)
	return out.Bytes()
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

func TestFailures(t *testing.T) {
	works := []string{"echo x", "echo compiling", "echo '{}'"}
	for _, test := range []struct {
		name   string
		script int // which of the three is replaced
		body   string
		change func(*staging.Task)
		want   staging.Error
		text   string
		log    string
	}{
		{"nothing matches", 0, "exit 1", nil,
			staging.Error{Kind: staging.NoAppDetected, Phase: "detect"},
			"An application could not be detected by any available buildpack", "Staging failed: An application could not be detected"},
		{"no buildpacks", 0, "exit 0", func(t *staging.Task) { t.Buildpacks = nil },
			staging.Error{Kind: staging.NoAppDetected, Phase: "detect"}, "could not be detected", ""},
		{"missing key", 0, "exit 0", func(t *staging.Task) { t.BuildpackKey = "gone" },
			staging.Error{Kind: staging.CompileFailed, Phase: "detect", Buildpack: "gone"},
			`there is no buildpack with the key "gone"`, `there is no buildpack with the key "gone"`},
		{"compile", 1, "echo line; echo 'no such gem'; exit 3", nil,
			staging.Error{Kind: staging.CompileFailed, Phase: "compile", Buildpack: "bp", ExitStatus: 3, Tail: []string{"line", "no such gem"}},
			"stage: compile with buildpack bp: Buildpack compilation step failed: bin/compile exited with status 3", "Staging failed: Buildpack compilation step failed"},
		{"compile is missing", 1, "", nil,
			staging.Error{Kind: staging.CompileFailed, Phase: "compile", Buildpack: "bp"}, "bin/compile: ", ""},
		{"release", 2, "echo garbage; exit 1", nil,
			staging.Error{Kind: staging.ReleaseFailed, Phase: "release", Buildpack: "bp", ExitStatus: 1, Output: "garbage\n", Tail: []string{"compiling"}},
			"bin/release exited with status 1", "Staging failed: Release info failed:\ngarbage\n"},
		{"release prints no YAML", 2, "echo 'a: b: c'", nil,
			staging.Error{Kind: staging.ReleaseFailed, Phase: "release", Buildpack: "bp", Output: "a: b: c\n", Tail: []string{"compiling"}}, "no YAML", ""},
		{"Procfile", 1, `echo "- web" >"$1/Procfile"; echo compiling`, nil,
			staging.Error{Kind: staging.ProcfileRefused, Phase: "release", Buildpack: "bp", Tail: []string{"compiling"}},
			"Invalid Procfile format. Please ensure it is a valid YAML hash", "Invalid Procfile format. Please ensure it is a valid YAML hash"},
		{"empty Procfile", 1, `: >"$1/Procfile"; echo compiling`, nil,
			staging.Error{Kind: staging.ProcfileRefused, Phase: "release", Buildpack: "bp", Tail: []string{"compiling"}}, "Invalid Procfile", ""},
		{"time", 1, "echo working; sleep 1000 & sleep 1000", func(t *staging.Task) { t.Timeout = 300 * time.Millisecond },
			staging.Error{Kind: staging.TimedOut, Phase: "compile", Buildpack: "bp", Tail: []string{"working"}},
			"waiting for compile when the 300ms had passed that staging may take (STAGING_TIMEOUT)", "Staging failed: staging timed out: waiting for compile"},
		{"environment", 0, "exit 0", func(t *staging.Task) { t.Environment.User = []string{"A=\x00"} },
			staging.Error{Kind: staging.ContainerFailed, Phase: "prepare"}, `environment variable "A" has a NUL byte`, `environment variable "A" has a NUL byte`},
	} {
		t.Run(test.name, func(t *testing.T) {
			bodies := append([]string{}, works...)
			bodies[test.script] = test.body
			s := newStage(t, app, classic(t, "bp", stagetest.Scripts(bodies[0], bodies[1], bodies[2])))
			if test.change != nil {
				test.change(&s.task)
			}
			failed := s.fails(t, test.want.Kind)
			assert.ErrorContains(t, failed, test.text)
			assert.Contains(t, s.log.String(), test.log)
			failed.Err = nil
			assert.Equal(t, test.want, *failed)
		})
	}
}

func TestOutOfMemory(t *testing.T) {
	eater := `exec perl -e 'my @a; while (1) { push @a, "x" x 1000000 }'`
	s := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", eater, "")))
	s.limits.MemoryBytes = 64 << 20
	failed := s.fails(t, staging.CompileFailed)
	assert.ErrorIs(t, failed, staging.ErrOutOfMemory)
	assert.Contains(t, s.log.String(), "Buildpack compilation step failed: the staging container ran out of memory")
}

func TestStageEndsWithItsContext(t *testing.T) {
	for _, script := range []string{"detect", "compile", "release"} {
		t.Run(script, func(t *testing.T) {
			begun := filepath.Join(t.TempDir(), "begun")
			files := stagetest.Scripts("exit 0", "exit 0", "exit 0")
			files["bin/"+script] = "#!/bin/sh\ntouch " + begun + "\nsleep 1000 & setsid sleep 1000\n"
			s := newStage(t, app, classic(t, "bp", files))
			reason := errors.New("a reason")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
					if _, err := os.Stat(begun); err == nil {
						break
					}
				}
				cancel(reason)
			}()
			_, err := s.run(t, ctx)
			assert.ErrorIs(t, err, reason)
			assert.ErrorIs(t, err, staging.Interrupted)
			var failed *staging.Error
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, script, failed.Phase)
			usage, err := s.container.Usage(t.Context())
			require.NoError(t, err)
			assert.Zero(t, usage.Processes)
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

func TestDamagedCacheIsLeftOut(t *testing.T) {
	whole := stagetest.Files{"a": "a", "b": strings.Repeat("0123456789", 1000), "c": "c"}.Tgz(t)
	for name, data := range map[string][]byte{"cut off": whole[:len(whole)-20], "no archive": []byte("text"), "hostile": stagetest.Files{"a": "", "../b": ""}.Tgz(t)} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", `ls "$2"`, "")))
			s.task.Cache = stagetest.Save(t, data)
			s.ok(t)
			assert.Contains(t, s.log.String(), "The cache cannot be used: ")
			assert.Equal(t, map[string]string{"./": ""}, stagetest.ReadTgz(t, s.cache.Bytes()))
		})
	}
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

func TestHostileBuildpackCannotReachTheHost(t *testing.T) {
	outside := t.TempDir()
	s := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", fmt.Sprintf(`cd "$1/.." && rm -rf logs && ln -s %s logs`, outside), "")))
	_, err := s.run(t, t.Context())
	require.Error(t, err)
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// TestProcessesOfBuildpacksEnd: what a buildpack leaves running is gone before the droplet is packed.
func TestProcessesOfBuildpacksEnd(t *testing.T) {
	s := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", `setsid sh -c 'while :; do echo x >>'"$1"'/grows; done' >/dev/null 2>&1 & exit 0`, "")))
	s.ok(t)
	usage, err := s.container.Usage(t.Context())
	require.NoError(t, err)
	assert.Zero(t, usage.Processes)
}

func TestIncompleteTask(t *testing.T) {
	_, err := staging.Stage(t.Context(), staging.Task{Timeout: -1}, staging.Parts{})
	for _, text := range []string{"Task.App", "Task.Droplet", "Task.Timeout", "Parts.Container"} {
		assert.ErrorContains(t, err, text)
	}
}
