package lifecycle_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"os"
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
	"github.com/deakit/deakit/staging/lifecycle"
)

// Two buildpacks: the first one supplies a program, the second one makes the app use it.
var (
	greeter = scripts(map[string]string{"supply": `mkdir -p "$3/$4/bin" && printf '#!/bin/sh\necho "greetings to $1 from $(basename "$DEPS_DIR")/%s"\n' "$4" >"$3/$4/bin/greet" && chmod +x "$3/$4/bin/greet"
		echo 'name: Greeter' >"$3/$4/config.yml"`})
	starter = scripts(map[string]string{"supply": "exit 0", "finalize": `PATH="$3/0/bin:$PATH" DEPS_DIR="$3" greet staging || exit
		echo 'for dir in "$DEPS_DIR"/*/bin; do PATH="$dir:$PATH"; done; export PATH' >"$5/00_path.sh"
		printf 'name: Starter\nconfig: {entrypoint_prefix: env GREETED=running bash -c}\n' >"$3/$4/config.yml"
		echo 'processes: [{type: web, command: greet "$GREETED $OF_APP"; exec sleep 100}]' >"$3/$4/launch.yml"`})
	greeted = stagetest.Files{".profile": "export OF_APP=app\n"}
)

const greeting = "greetings to running app from deps/0\n"

// TestBothDoors stages an app with package staging and with the builder, and starts each droplet as an instance of the DEA
// and with the launcher.
func TestBothDoors(t *testing.T) {
	for name, stage := range map[string]func(*testing.T) []byte{
		"Stage":   func(t *testing.T) []byte { return throughStage(t, stagetest.Backend(t)) },
		"Builder": throughBuilder,
	} {
		t.Run(name, func(t *testing.T) {
			staged := stage(t)
			info, err := droplet.ReadInfo(t.Context(), bytes.NewReader(staged), droplet.Limits{})
			require.NoError(t, err)
			assert.Equal(t, "Starter", info.DetectedBuildpack)
			assert.Equal(t, "env GREETED=running bash -c", info.EntrypointPrefix)
			t.Run("instance", func(t *testing.T) { runInstance(t, stagetest.Backend(t), staged, greeting) })
			t.Run("launcher", func(t *testing.T) { runLauncher(t, staged) })
		})
	}
}

// TestInConfinedContainers stages and starts where containers have a root file system of their own.
func TestInConfinedContainers(t *testing.T) {
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
	backend, err := runc.New(runc.Options{Depot: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, backend.Close(context.Background())) })
	staged := throughStage(t, backend)
	runInstance(t, backend, staged, greeting)
	runLauncher(t, staged)
}

func throughStage(t *testing.T, backend container.Backend) []byte {
	var members []buildpack.Buildpack
	for i, files := range []stagetest.Files{greeter, starter} {
		bp, err := buildpack.Open([]string{"greeter", "starter"}[i], files.Dir(t))
		require.NoError(t, err)
		members = append(members, bp)
	}
	both, err := buildpack.Compose(members...)
	require.NoError(t, err)
	var staged, log bytes.Buffer
	task := staging.Task{App: greeted.Dir(t), Custom: both, Droplet: &staged}
	progress, err := staging.NewLog("", staging.LogOptions{Copy: &log})
	require.NoError(t, err)
	defer progress.Close()
	c, err := backend.Create(t.Context(), container.Spec{BindMounts: task.Mounts()})
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.Destroy(context.Background())) }()
	result, err := staging.Stage(t.Context(), task, staging.Parts{Container: c, Log: progress})
	require.NoError(t, err, log.String())
	assert.Contains(t, log.String(), "greetings to staging from deps/0\n")
	assert.Equal(t, `greet "$GREETED $OF_APP"; exec sleep 100`, result.StartCommand)
	return staged.Bytes()
}

func throughBuilder(t *testing.T) []byte {
	s := newSite(t, greeted)
	s.buildpack("greeter", greeter)
	s.buildpack("starter", starter)
	require.Equal(t, 0, s.builder("-buildpackOrder=greeter,starter", "-skipDetect"), s.stderr.String())
	assert.Equal(t, "greetings to staging from deps/0\n", s.stdout.String())
	return []byte(s.read("out/droplet"))
}

func runLauncher(t *testing.T, staged []byte) {
	s := newSite(t, nil)
	root := s.unpack(stagetest.Save(t, staged))
	p := s.process("launcher", []string{"app", `greet "$GREETED $OF_APP"`, "{}"})
	p.Dir = root
	command, err := lifecycle.Launcher(t.Context(), p)
	assert.Equal(t, 0, s.become(command, err, root), s.stderr.String())
	assert.Equal(t, "Invoking pre-start scripts.\nInvoking start command.\n"+greeting, s.stdout.String())
}

// runInstance runs a droplet as an instance until it has printed something.
func runInstance(t *testing.T, backend container.Backend, staged []byte, want string) {
	store, err := droplet.NewStore(t.TempDir(), droplet.StoreOptions{})
	require.NoError(t, err)
	defer store.Close()
	sum := sha1.Sum(staged)
	i, err := instance.New(messaging.StartMessage{
		Droplet: "app", Name: "app", Version: "v", CCPartition: "default", SHA1: hex.EncodeToString(sum[:]), ExecutableURI: "x",
		Services: messaging.Services{}, Limits: messaging.Limits{Mem: 128, Disk: 128, FDs: 1024},
	}, instance.Config{}, instance.Parts{
		Backend: backend, Droplets: store,
		Observe:  func(instance.Change) {},
		Ledger:   resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 30, DiskBytes: 1 << 30}),
		Download: func(_ context.Context, _ string, w io.Writer) error { _, err := w.Write(staged); return err },
	})
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		i.Run(context.Background())
	}()
	defer func() {
		i.Stop()
		<-ended
	}()
	var out string
	assert.Eventually(t, func() bool {
		status := i.Status()
		name, ok := status.Container.OnHost("/home/vcap/logs/stdout.log")
		if !ok || status.State != messaging.Running {
			return false
		}
		data, err := os.ReadFile(name)
		out = string(data)
		return err == nil && out != ""
	}, 20*time.Second, 5*time.Millisecond)
	assert.Equal(t, want, out)
}
