package staging_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// hostile is a buildpack that means ill, or is broken beyond what one expects. Bodies that are empty do no harm.
type hostile struct {
	name                     string
	detect, compile, release string

	want    staging.Kind // "" where the staging succeeds
	confine bool         // only where a back end confines it: as a plain process it would do harm to this machine
	check   func(t *testing.T, log string, members map[string]string)
}

// brief is the time of what has to be waited for.
const brief = 2 * time.Second

func logHas(text string) func(*testing.T, string, map[string]string) {
	return func(t *testing.T, log string, _ map[string]string) { assert.Contains(t, log, text) }
}

var hostiles = []hostile{
	{name: "hangs in detect", detect: "exec sleep 1000", want: staging.TimedOut, check: logHas("waiting for detect when the 2s had passed")},
	{name: "hangs in compile", compile: "exec sleep 1000", want: staging.TimedOut, check: logHas("waiting for compile when")},
	{name: "hangs in release", release: "exec sleep 1000", want: staging.TimedOut, check: logHas("waiting for release when")},
	{name: "hears no signal", compile: `trap "" TERM INT HUP QUIT; while :; do sleep 1000; done`, want: staging.TimedOut},
	{name: "forks twice and stays", compile: `(setsid sh -c "trap '' TERM; sleep 1000" >/dev/null 2>&1 &) & exit 0`},
	{name: "daemon that keeps stdout", compile: `setsid sleep 1000 & exit 0`, want: staging.TimedOut},
	{name: "writes on when it has ended", compile: `setsid sh -c 'while :; do echo x >>"$0"/grows; mkdir -p "$0"/d; rm -rf "$0"/d; done' "$1" >/dev/null 2>&1 & exit 0`},
	{name: "forks without end", compile: `f() { f | f & }; f; sleep 1000`, want: staging.TimedOut, confine: true},
	{name: "fills the disk", compile: `exec dd if=/dev/zero of="$1/fill" bs=1M 2>&1`, want: staging.CompileFailed},
	{name: "fills the cache", compile: `exec dd if=/dev/zero of="$2/fill" bs=1M 2>&1`, want: staging.CompileFailed},
	{name: "file with a hole", compile: `truncate -s 1T "$1/hole" || exit 0`, check: func(*testing.T, string, map[string]string) {}},
	{name: "floods the log", compile: `exec head -c 100000000 /dev/zero`, check: func(t *testing.T, log string, _ map[string]string) {
		assert.Less(t, len(log), 2<<20)
		assert.Contains(t, log, "the rest is left out")
	}},
	{name: "floods the output of detect", detect: "echo name; exec head -c 50000000 /dev/zero", check: func(*testing.T, string, map[string]string) {}},
	{name: "floods the output of release", release: "exec yes 'a: b'", want: staging.TimedOut},
	{name: "binary output", detect: `printf '\377\000\033[31m\n'`, compile: `head -c 100000 /dev/urandom; printf '\377\376\000'`},
	{name: "YAML that is none", release: `printf 'a: [\n'`, want: staging.ReleaseFailed},
	{name: "YAML of binary", release: `head -c 1000 /dev/urandom`, want: staging.ReleaseFailed},
	{name: "YAML that is deep", release: `head -c 60000 /dev/zero | tr '\0' '['`, want: staging.ReleaseFailed},
	{name: "YAML that grows", release: `printf 'default_process_types:\n  a: &a %s\n' "$(head -c 30000 /dev/zero | tr '\0' x)"; for i in $(seq 2000); do echo "  p$i: *a"; done`,
		want: staging.ReleaseFailed},
	{name: "YAML that contains itself", release: `printf 'default_process_types: &a {web: *a}\n'`},
	{name: "Procfile that grows", compile: `{ printf 'a: &a %s\n' "$(head -c 30000 /dev/zero | tr '\0' x)"; for i in $(seq 2000); do echo "p$i: *a"; done; } >"$1/Procfile"`,
		want: staging.ProcfileRefused},
	{name: "Procfile that blocks", compile: `mkfifo "$1/Procfile"`}, // it counts as none
	{name: "Procfile that is a link to itself", compile: `ln -s Procfile "$1/Procfile"`, want: staging.ProcfileRefused},
	{name: "says that it failed", compile: `echo made >"$1/made"; exit 255`, want: staging.CompileFailed},
	{name: "is killed", compile: `kill -9 $$`, want: staging.CompileFailed},
	{name: "detects by a signal", detect: `kill -9 $$`, want: staging.NoAppDetected},
	{name: "removes the app", compile: `rm -rf "$1"`, want: staging.DropletRefused, check: logHas("no directory of the app")},
	{name: "removes everything", compile: `rm -rf "$(cd "$1/.." && pwd -P)"`, want: staging.DropletRefused},
	{name: "app is a link out", compile: `rm -rf "$1" && ln -s /etc "$1"`, want: staging.DropletRefused},
	{name: "app is a file", compile: `rm -rf "$1" && echo x >"$1"`, want: staging.DropletRefused},
	{name: "app is a FIFO", compile: `rm -rf "$1" && mkfifo "$1"`, want: staging.DropletRefused},
	{name: "logs is a link out", compile: `rm -rf "$1/../logs" && ln -s /etc "$1/../logs"`, want: staging.DropletRefused},
	{name: "log is a FIFO", compile: `cd "$1/../logs" && rm -f staging_task.log && mkfifo staging_task.log`},
	{name: "staging info is a directory", compile: `mkdir -p "$1/../staging_info.yml/x"`, want: staging.DropletRefused},
	{name: "cache is a link out", compile: `rmdir "$2" && ln -s /etc "$2"`, want: staging.DropletRefused},
	{name: "FIFOs and devices", compile: `mkfifo "$1/fifo" "$2/fifo"; mknod "$1/null" c 1 3 2>/dev/null; exit 0`, check: func(t *testing.T, _ string, members map[string]string) {
		assert.NotContains(t, members, "./app/fifo")
		assert.NotContains(t, members, "./app/null")
	}},
	{name: "sockets", compile: `perl -MIO::Socket::UNIX -e 'chdir $ARGV[0]; IO::Socket::UNIX->new(Type => SOCK_STREAM(), Local => "s", Listen => 1) or die' "$1"`},
	{name: "closed to its owner", compile: `mkdir -p "$1/closed/in" && echo x >"$1/closed/in/f" && chmod 000 "$1/closed/in/f" "$1/closed/in" "$1/closed"`,
		check: func(*testing.T, string, map[string]string) {}},
	{name: "closed app", compile: `chmod 000 "$1"`, check: func(*testing.T, string, map[string]string) {}},
	{name: "deep tree", compile: deep(`$ARGV[0]`, 5_000), want: staging.DropletRefused},
	{name: "deep cache", compile: deep(`$ARGV[1]`, 5_000), want: staging.DropletRefused},
	{name: "many files", compile: `perl -e 'chdir $ARGV[0]; for (1..3000) { open F, ">", "f$_" or die; }' "$1"`, want: staging.DropletRefused},
	{name: "odd names", compile: `cd "$1" && n=$(printf '%0255d' 7) && mkdir "$n" && touch "$n/$n" "$(printf 'a\nb')" "$(printf '\377\376')" -- -rf '*'`,
		check: func(t *testing.T, _ string, members map[string]string) {
			assert.Contains(t, members, "./app/a\nb")
			assert.Contains(t, members, "./app/\xff\xfe")
			assert.Contains(t, members, "./app/"+strings.Repeat("0", 254)+"7/"+strings.Repeat("0", 254)+"7")
		}},
	{name: "hard links", compile: `cd "$1" && echo secret >one && ln one two && { ln /etc/passwd three || :; }`, check: func(t *testing.T, _ string, members map[string]string) {
		assert.Equal(t, "secret\n", members["./app/one"])
		assert.Contains(t, members, "./app/two")
	}},
	{name: "set-user-ID program", compile: `cp /bin/true "$1/su" && chmod 6755 "$1/su"`},
}

// deep makes a tree of so many levels below a directory that perl names.
func deep(where string, levels int) string {
	return `exec perl -e 'chdir ` + where + ` or die; for (1..` + strconv.Itoa(levels) + `) { mkdir "d" or die; chdir "d" or die }' "$1" "$2"`
}

func TestHostileBuildpacksAsProcesses(t *testing.T) {
	depot := t.TempDir()
	backend, err := process.New(process.Options{Depot: depot, WatchInterval: 20 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, backend.Close(context.Background())) })
	tryHostiles(t, backend, depot)
}

func TestHostileBuildpacksInRunc(t *testing.T) {
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
	depot, err := os.MkdirTemp("", "staging-runc-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(depot)) })
	backend, err := runc.New(runc.Options{Depot: depot, StopGrace: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, backend.Close(context.Background())) })
	tryHostiles(t, backend, depot)
}

// tryHostiles stages with each of them, and wants a typed error or a success, in bounded time and space, and nothing left.
func tryHostiles(t *testing.T, backend container.Backend, depot string) {
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			if h.confine && backend.Capabilities().PIDs != container.ByKernel {
				return // nothing here stops it
			}
			h.try(t, backend)
			handles, err := backend.List(t.Context())
			require.NoError(t, err)
			assert.Empty(t, handles)
			assert.NotContains(t, commandLines(t), " "+depot, "processes whose directory is in a container")
		})
	}
}

func (h hostile) try(t *testing.T, backend container.Backend) {
	dir, err := os.MkdirTemp("", "hostile-") // where other accounts may come, and paths stay short
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	stagetest.Scripts(or(h.detect, "echo hostile"), or(h.compile, "exit 0"), or(h.release, "echo '{}'")).Write(t, dir)
	bp, err := buildpack.NewClassic("hostile", dir)
	require.NoError(t, err)

	var droplet, cache, copied bytes.Buffer
	log, err := staging.NewLog("", staging.LogOptions{Copy: &copied, MaxBytes: 1 << 20})
	require.NoError(t, err)
	defer log.Close()
	task := staging.Task{
		App: stagetest.Save(t, app.Zip(t)), Buildpacks: []buildpack.Buildpack{bp}, Droplet: &droplet, NewCache: &cache,
		Timeout: time.Minute,
	}
	if h.want == staging.TimedOut {
		task.Timeout = brief
	}
	task.Limits.MaxMembers, task.Limits.MaxBytes = 2000, 256<<20
	c, err := backend.Create(t.Context(), container.Spec{
		BindMounts: task.Mounts(), Limits: container.Limits{DiskBytes: 64 << 20, MemoryBytes: 256 << 20, PIDs: 200},
	})
	require.NoError(t, err)
	_, err = staging.Stage(t.Context(), task, staging.Parts{
		Container: c, Log: log, WatchDisk: backend.Capabilities().Disk == container.NotEnforced,
	})
	usage, uerr := c.Usage(t.Context())
	require.NoError(t, uerr)
	assert.Zero(t, usage.Processes)
	require.NoError(t, c.Destroy(t.Context()))

	var failed *staging.Error
	switch {
	case err == nil:
	case !errors.As(err, &failed):
		t.Fatalf("an error without a type: %v", err)
	}
	t.Logf("%v", err)
	if h.want != "" {
		require.ErrorIs(t, err, h.want, copied.String())
	} else if h.check == nil {
		require.NoError(t, err)
	}
	var members map[string]string
	if err == nil {
		members = stagetest.ReadTgz(t, droplet.Bytes())
		assert.Contains(t, members, "./app/")
	}
	if h.check != nil && (h.want != "" || err == nil) {
		h.check(t, copied.String(), members)
	}
}

func or(script, usual string) string {
	if script == "" {
		return usual
	}
	return script
}

// commandLines returns those of all processes, with their working directories.
func commandLines(t *testing.T) string {
	var text strings.Builder
	entries, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, p := range entries {
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		text.WriteString(strings.ReplaceAll(string(line), "\x00", " ") + cwd + "\n")
	}
	return text.String()
}
