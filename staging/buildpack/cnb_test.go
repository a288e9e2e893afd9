package buildpack_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// component returns the files of a buildpack with the given bodies of its programs, for bash.
func component(id, api, detect, build string) stagetest.Files {
	return stagetest.Files{
		"buildpack.toml": "api = \"" + api + "\"\n[buildpack]\nid = \"" + id + "\"\nversion = \"1.0.0\"\n",
		"bin/detect":     "#!/bin/bash\nset -e\n" + detect + "\n",
		"bin/build":      "#!/bin/bash\nset -e\n" + build + "\n",
	}
}

// under puts files into a directory. Programs stay what they are.
func under(t testing.TB, dir string, files map[string]stagetest.Files) string {
	t.Helper()
	for name, f := range files {
		f.Write(t, filepath.Join(dir, name))
	}
	return dir
}

// open returns the buildpack in a directory, of whatever kind it is.
func open(t testing.TB, dir string) buildpack.Buildpack {
	t.Helper()
	bp, err := buildpack.Open("", dir)
	require.NoError(t, err)
	assert.IsType(t, &buildpack.CNB{}, bp)
	return bp
}

// A cnbStage is one staging with cloud native buildpacks.
type cnbStage struct {
	task    staging.Task
	backend container.Backend
	droplet bytes.Buffer
	cache   bytes.Buffer
	log     bytes.Buffer
}

func newCNBStage(t testing.TB, app stagetest.Files, buildpacks ...buildpack.Buildpack) *cnbStage {
	return &cnbStage{task: staging.Task{App: stagetest.Save(t, app.Tgz(t)), Buildpacks: buildpacks}}
}

func (s *cnbStage) run(t testing.TB, ctx context.Context) (staging.Result, error) {
	t.Helper()
	if s.backend == nil {
		s.backend = stagetest.Backend(t)
	}
	c, err := s.backend.Create(t.Context(), container.Spec{BindMounts: s.task.Mounts()})
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.Destroy(context.Background())) }()
	log, err := staging.NewLog("", staging.LogOptions{Copy: &s.log})
	require.NoError(t, err)
	defer log.Close()
	s.task.Droplet, s.task.NewCache = &s.droplet, &s.cache
	return staging.Stage(ctx, s.task, staging.Parts{Container: c, Log: log})
}

func (s *cnbStage) ok(t testing.TB) staging.Result {
	t.Helper()
	result, err := s.run(t, t.Context())
	require.NoError(t, err, s.log.String())
	return result
}

func (s *cnbStage) fails(t testing.TB, kind staging.Kind) *staging.Error {
	t.Helper()
	_, err := s.run(t, t.Context())
	var failed *staging.Error
	require.ErrorAs(t, err, &failed, s.log.String())
	assert.ErrorIs(t, err, kind)
	return failed
}

// again returns the next staging of the app, with the cache that this one left.
func (s *cnbStage) again(t testing.TB) *cnbStage {
	next := &cnbStage{task: s.task, backend: s.backend}
	next.task.Cache = stagetest.Save(t, s.cache.Bytes())
	return next
}

// runtime provides a tool in a layer that is cached and used at build and launch. tool uses it, makes layers of all kinds,
// and says what is to be started.
var (
	runtimePack = component("samples/runtime", "0.11", `
		test "$#" = 2 && test "$1" = "$CNB_PLATFORM_DIR" && test "$2" = "$CNB_BUILD_PLAN_PATH" && test -f hello.txt
		echo "looking at $CNB_TARGET_OS"
		printf '[[provides]]\nname = "greeter"\n' >"$2"`, `
		layer=$CNB_LAYERS_DIR/greeter
		grep -q 'name = "greeter"' "$CNB_BP_PLAN_PATH" && grep -q 'loud = true' "$CNB_BP_PLAN_PATH"
		echo "known: $(cat "$layer.toml" "$CNB_LAYERS_DIR/store.toml" 2>/dev/null | tr '\n' ' ')"
		printf '[metadata]\nruns = "one more"\n' >"$CNB_LAYERS_DIR/store.toml"
		if [ -f "$layer/bin/greet" ] && grep -q 'version = "1"' "$layer.toml"; then
			echo "---> reusing greeter"
		else
			echo "---> installing greeter"
			mkdir -p "$layer/bin" "$layer/env" "$layer/env.launch" "$layer/exec.d"
			printf '#!/bin/sh\necho "hello $*"\n' >"$layer/bin/greet"
			printf '#!/bin/sh\nprintf "EXECUTED = \\"by %%s\\"" "$GREETER" >&3\n' >"$layer/exec.d/10-it"
			chmod +x "$layer/bin/greet" "$layer/exec.d/10-it"
			printf %s "$layer" >"$layer/env/GREETER"
			printf ' at launch' >"$layer/env.launch/GREETER.append"
			date +%s%N >"$layer/made"
		fi
		printf '[types]\nlaunch = true\nbuild = true\ncache = true\n[metadata]\nversion = "1"\npath = "%s"\n' "$layer" >"$layer.toml"`)

	toolPack = component("samples/tool", "0.8", `
		printf '[[requires]]\nname = "greeter"\n[requires.metadata]\nloud = true\n' >"$2"`, `
		test "$(greet there)" = "hello there" && test "$GREETER" = "${1%samples_tool}samples_runtime/greeter"
		test "$USER_SAYS" = "it's \$HOME" && test "$(cat "$2/env/USER_SAYS")" = "it's \$HOME" && test -z "$CNB_EXEC_ENV"
		ls "$1/cache-layer/" 2>/dev/null | sed 's/^/cached: /'
		for kind in launch build cache none; do mkdir -p "$1/$kind-layer"; date +%s%N >"$1/$kind-layer/made"; done
		printf '[types]\nlaunch = true\n[metadata]\nof = "launch"\n' >"$1/launch-layer.toml"
		printf '[types]\nbuild = true\n' >"$1/build-layer.toml"
		if grep -q . "$1/cache-layer.toml" 2>/dev/null; then touch "$1/cache-layer/second"; fi
		printf '[types]\ncache = true\n[metadata]\nseen = true\n' >"$1/cache-layer.toml"
		printf '[types]\n' >"$1/none-layer.toml"
		mkdir "$1/no-toml"; touch "$HOME/junk"
		mkdir -p "$1/launch-layer/profile.d"; echo 'export PROFILED=yes' >"$1/launch-layer/profile.d/x.sh"
		printf '[[processes]]\ntype = "shell"\ncommand = "greet \\"$PROFILED\\" $EXECUTED; exec sleep 1000"\ndefault = true\n' >"$1/launch.toml"
		printf '[[processes]]\ntype = "direct"\ncommand = "greet"\nargs = ["$GREETER"]\ndirect = true\n' >>"$1/launch.toml"
		echo built >built.txt`)

	cnbApp = stagetest.Files{"hello.txt": "hello"}
)

func twoPacks(t testing.TB) string {
	return under(t, t.TempDir(), map[string]stagetest.Files{
		"":        {"order.toml": "[[order]]\n[[order.group]]\nid = \"samples/runtime\"\nversion = \"1.0.0\"\n[[order.group]]\nid = \"samples/tool\"\nversion = \"1.0.0\"\n"},
		"runtime": runtimePack, "packs/tool": toolPack,
	})
}

func withUser(s *cnbStage) *cnbStage {
	s.task.Environment.User = []string{"USER_SAYS=it's $HOME"}
	return s
}

// Two buildpacks, the first of which has a layer that the second build uses again.
func TestCNB(t *testing.T) {
	s := withUser(newCNBStage(t, cnbApp, open(t, twoPacks(t))))
	result := s.ok(t)
	assert.Equal(t, "samples/runtime@1.0.0, samples/tool@1.0.0", result.DetectedBuildpack)
	call := "exec bash ../layers/config/launch "
	assert.Equal(t, map[string]string{"shell": call + "shell", "direct": call + "direct", "web": call + "shell"}, result.ProcessTypes)
	assert.Equal(t, call+"shell", result.StartCommand)
	assert.Equal(t, "bash ../layers/config/launch", result.EntrypointPrefix)
	assert.Equal(t, []droplet.BuildpackInfo{{Name: "samples/runtime", Version: "1.0.0"}, {Name: "samples/tool", Version: "1.0.0"}}, result.Buildpacks)
	assert.Contains(t, s.log.String(), "---> installing greeter\n")
	assert.Contains(t, s.log.String(), "known: \n")
	assert.NotContains(t, s.log.String(), "looking at", "what bin/detect prints is shown on failure only")
	assert.NotContains(t, s.log.String(), "cached:")

	first := stagetest.ReadTgz(t, s.droplet.Bytes())
	var layers []string
	for name := range first {
		if strings.HasPrefix(name, "./layers/") && strings.Count(name, "/") < 5 && strings.HasSuffix(name, "/") {
			layers = append(layers, name)
		}
		assert.NotContains(t, name, "junk")
	}
	assert.ElementsMatch(t, []string{"./layers/", "./layers/config/", "./layers/samples_runtime/", "./layers/samples_runtime/greeter/",
		"./layers/samples_tool/", "./layers/samples_tool/launch-layer/"}, layers)
	assert.Equal(t, "built\n", first["./app/built.txt"])
	assert.Contains(t, first["./layers/config/metadata.toml"], `buildpack-id = "samples/tool"`)
	assert.NotContains(t, first, "./layers/samples_tool/launch-layer.toml")

	kept := stagetest.ReadTgz(t, s.cache.Bytes())
	for name, want := range map[string]bool{
		"./cnb/samples_runtime/cached/greeter/made": true, "./cnb/samples_tool/cached/cache-layer/made": true,
		"./cnb/samples_tool/launch/launch-layer/made": true, "./cnb/samples_tool/cached/build-layer.toml": false,
		"./cnb/samples_tool/launch/build-layer.toml": false, "./cnb/samples_tool/cached/none-layer.toml": false,
	} {
		_, there := kept[name]
		assert.Equal(t, want, there, name)
	}
	for name, text := range kept {
		if strings.HasSuffix(name, ".toml") {
			assert.NotContains(t, text, "types", name)
		}
	}

	second := s.again(t)
	second.ok(t)
	again := stagetest.ReadTgz(t, second.droplet.Bytes())
	assert.Contains(t, second.log.String(), "---> reusing greeter\n")
	assert.NotContains(t, second.log.String(), "installing")
	assert.Regexp(t, `known: \[metadata\] path = "[^"]+/layers/samples_runtime/greeter" version = "1" \[metadata\] runs = "one more" \n`, second.log.String())
	assert.Contains(t, second.log.String(), "cached: made\n")
	assert.NotContains(t, second.log.String(), "cached: second\n")
	assert.Equal(t, first["./layers/samples_runtime/greeter/made"], again["./layers/samples_runtime/greeter/made"])
	assert.NotEqual(t, first["./layers/samples_tool/launch-layer/made"], again["./layers/samples_tool/launch-layer/made"])

	third := second.again(t)
	third.ok(t)
	assert.Contains(t, third.log.String(), "cached: second\n")
	assert.Contains(t, third.log.String(), "---> reusing greeter\n")
}

// The droplets run as a DEA runs them, on back ends that built them at another path, and on those that have one root for all.
func TestCNBDropletRuns(t *testing.T) {
	for name, backend := range cnbBackends(t) {
		t.Run(name, func(t *testing.T) {
			dir := twoPacks(t)
			s := withUser(newCNBStage(t, cnbApp, open(t, dir)))
			s.backend = backend(t)
			s.ok(t)
			next := s.again(t)
			result := next.ok(t)
			home := "/home/vcap"
			if name == "process" {
				home = "[^ ]*/home/vcap"
			}
			assert.Regexp(t, `^hello yes by `+home+`/layers/samples_runtime/greeter at launch\n$`, runDroplet(t, next, result, ""))
			assert.Equal(t, "hello $GREETER\n", runDroplet(t, next, result, result.ProcessTypes["direct"]), "no shell has seen it")
			assert.Regexp(t, `^hello you at `+home+`/layers/samples_runtime/greeter at launch\n$`,
				runDroplet(t, next, result, `greet you at "$GREETER"`), "a command of the user, in the same environment")
		})
	}
}

// A list of candidates can be of all kinds: the app goes where each of them wants it.
func TestCNBAmongOthers(t *testing.T) {
	never := stagetest.Scripts("exit 1", "exit 1", "").Dir(t)
	always := stagetest.Scripts("exit 0", "ls -A \"$1\" >\"$1/list\"", "echo 'default_process_types: {web: cat list; sleep 1000}'").Dir(t)
	for name, backend := range cnbBackends(t) {
		t.Run(name, func(t *testing.T) {
			classic := func(dir string) buildpack.Buildpack {
				bp, err := buildpack.NewClassic("", dir)
				require.NoError(t, err)
				return bp
			}
			s := withUser(newCNBStage(t, cnbApp, classic(never), open(t, twoPacks(t)), classic(always)))
			s.backend = backend(t)
			result := s.ok(t)
			assert.Contains(t, result.DetectedBuildpack, "samples/tool@1.0.0")
			members := stagetest.ReadTgz(t, s.droplet.Bytes())
			assert.Contains(t, members, "./app/built.txt")
			assert.NotContains(t, members, "./app/support_heroku_buildpacks")

			no := under(t, t.TempDir(), map[string]stagetest.Files{"": component("no", "0.10", "exit 100", "")})
			other := newCNBStage(t, cnbApp, open(t, no), classic(always))
			other.backend = s.backend
			assert.Equal(t, "hello.txt\nlist\n", runDroplet(t, other, other.ok(t), ""))
		})
	}
}

// cnbBackends are the back ends to test on.
func cnbBackends(t *testing.T) map[string]func(*testing.T) container.Backend {
	return map[string]func(*testing.T) container.Backend{
		"process": func(t *testing.T) container.Backend { return stagetest.Backend(t) },
		"runc": func(t *testing.T) container.Backend {
			needs.Root(t)
			needs.Tool(t, "runc", "runc")
			depot, err := os.MkdirTemp("", "cnb-test-")
			require.NoError(t, err)
			backend, err := runc.New(runc.Options{Depot: depot, Disk: runc.DiskDirectory})
			require.NoError(t, err)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				assert.NoError(t, backend.Close(ctx))
				assert.NoError(t, os.RemoveAll(depot))
			})
			return backend
		},
	}
}

// runDroplet runs an instance of the droplet and returns the first line that it prints.
func runDroplet(t *testing.T, s *cnbStage, result staging.Result, command string) string {
	t.Helper()
	dir := t.TempDir()
	store, err := droplet.NewStore(filepath.Join(dir, "droplets"), droplet.StoreOptions{})
	require.NoError(t, err)
	defer func() { assert.NoError(t, store.Close()) }()
	message := messaging.StartMessage{
		Droplet: "app", Name: "app", Version: "v", Services: messaging.Services{}, SHA1: result.Droplet.SHA1, StartCommand: command,
		ExecutableURI: "http://store/droplet", Limits: messaging.Limits{Mem: 256, Disk: 256, FDs: 1024},
	}
	i, err := instance.New(message, instance.Config{CrashDir: filepath.Join(dir, "crashes")}, instance.Parts{
		Backend: s.backend, Droplets: store, Observe: func(instance.Change) {},
		Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 30, DiskBytes: 1 << 30}),
		Download: func(_ context.Context, _ string, w io.Writer) error {
			_, err := w.Write(s.droplet.Bytes())
			return err
		},
	})
	require.NoError(t, err)
	over := make(chan struct{})
	go func() { defer close(over); i.Run(context.WithoutCancel(t.Context())) }()
	defer i.Release()
	defer func() { i.Stop(); <-over }()
	var text []byte
	require.Eventually(t, func() bool {
		status := i.Status()
		for _, at := range []string{status.CrashPath, filepath.Join(status.Container.HostRoot, container.AppHome)} {
			if data, err := os.ReadFile(filepath.Join(at, "logs/stdout.log")); err == nil && at != "" {
				text = data
			}
		}
		return bytes.HasSuffix(text, []byte("\n"))
	}, 30*time.Second, 10*time.Millisecond, "%+v", i.Status())
	return string(text)
}
