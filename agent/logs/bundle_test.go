package logs_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/agent/logs"
)

// machine has logs of jobs, of the agent and of the system.
func machine(t *testing.T) logs.Config {
	t.Helper()
	dir := t.TempDir()
	cfg := logs.Config{Base: filepath.Join(dir, "vcap"), SystemDir: filepath.Join(dir, "var/log")}
	for name, text := range map[string]string{
		"vcap/data/sys/log/nats/nats.log": "nats", "vcap/data/sys/log/nats/old/nats.log.1": "old", "vcap/data/sys/log/web/web.stdout.log": "web",
		"vcap/data/sys/log/.hidden": "dot", "vcap/bosh/log/current": "agent", "vcap/bosh/settings.json": "secret",
		"var/log/syslog": "system", "var/log/nats/nats.log": "not of a job",
	} {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o640))
	}
	require.NoError(t, os.Symlink(filepath.Join(cfg.Base, "data/sys"), filepath.Join(cfg.Base, "sys"))) // absolute, as agents make it
	return cfg
}

// unpack returns the files of an archive.
func unpack(t *testing.T, data []byte) map[string]string {
	t.Helper()
	files := map[string]string{}
	compressed, err := gzip.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	for r := tar.NewReader(compressed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		if h.Typeflag == tar.TypeDir {
			continue
		}
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.NotContains(t, files, h.Name)
		files[h.Name] = string(text)
	}
}

func bundle(t *testing.T, cfg logs.Config, types []logs.Type, filters ...string) (map[string]string, logs.Result) {
	t.Helper()
	var out bytes.Buffer
	result, err := logs.Write(t.Context(), &out, cfg, types, filters)
	require.NoError(t, err)
	files := unpack(t, out.Bytes())
	assert.Len(t, files, result.Files)
	return files, result
}

func TestBundle(t *testing.T) {
	cfg := machine(t)
	job := []logs.Type{logs.Job}
	all := map[string]string{"./nats/nats.log": "nats", "./nats/old/nats.log.1": "old", "./web/web.stdout.log": "web", "./.hidden": "dot"}
	files, result := bundle(t, cfg, job)
	assert.Equal(t, all, files)
	assert.Equal(t, logs.Result{Files: 4, Bytes: 13}, result)
	for filter, want := range map[string][]string{
		"nats/*.log":     {"./nats/nats.log"},
		"**/*.log":       {"./nats/nats.log", "./web/web.stdout.log"},
		"**/*.log*":      {"./nats/nats.log", "./nats/old/nats.log.1", "./web/web.stdout.log"},
		"nats":           {"./nats/nats.log", "./nats/old/nats.log.1"},
		"*/old":          {"./nats/old/nats.log.1"},
		"{web,none}/**":  {"./web/web.stdout.log"},
		"/nats/nats.log": {"./nats/nats.log"},
		"**/*":           {"./nats/nats.log", "./nats/old/nats.log.1", "./web/web.stdout.log", "./.hidden"},
		".":              {"./nats/nats.log", "./nats/old/nats.log.1", "./web/web.stdout.log", "./.hidden"},
		"all":            nil,
		"*.log":          nil,
		"../../bosh/*":   nil,
		"../nats/old/*":  {"./nats/old/nats.log.1"}, // there is nothing above
	} {
		files, _ := bundle(t, cfg, job, filter)
		for _, name := range want {
			assert.Contains(t, files, name, filter)
		}
		assert.Len(t, files, len(want), filter)
	}
	files, _ = bundle(t, cfg, job, "web/*", "**/*.1")
	assert.Equal(t, map[string]string{"./web/web.stdout.log": "web", "./nats/old/nats.log.1": "old"}, files)
	files, _ = bundle(t, cfg, []logs.Type{logs.Agent, logs.System})
	assert.Equal(t, map[string]string{"./current": "agent", "./var/log/syslog": "system", "./var/log/nats/nats.log": "not of a job"}, files)
	files, result = bundle(t, logs.Config{Base: t.TempDir(), SystemDir: "/none/at/all"}, []logs.Type{logs.Job, logs.Agent, logs.System})
	assert.Empty(t, files, "there are no logs yet")
	assert.Zero(t, result)
	// The same name twice.
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Base, "data/sys/log/current"), []byte("job"), 0o600))
	files, _ = bundle(t, cfg, []logs.Type{logs.Job, logs.Agent}, "current")
	assert.Equal(t, map[string]string{"./current": "job", "./agent/current": "agent"}, files)
}

// What jobs leave in their log directories leads nowhere else, and stops nothing.
func TestBundleOfHostileLogs(t *testing.T) {
	cfg := machine(t)
	dir := filepath.Join(cfg.Base, "data/sys/log")
	for link, target := range map[string]string{
		"absolute": filepath.Join(cfg.Base, "bosh/settings.json"), "relative": "../../../bosh/settings.json", "dangling": "none",
		"circle": "circle", "directory": "/", "inside": "nats/nats.log", "inside-absolute": filepath.Join(dir, "nats/nats.log"),
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	require.NoError(t, os.Symlink(".", filepath.Join(dir, "self")))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	deep := dir
	for range 100 {
		deep = filepath.Join(deep, "d")
	}
	require.NoError(t, os.MkdirAll(deep, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(deep, "lost.log"), nil, 0o600))
	files, result := bundle(t, cfg, []logs.Type{logs.Job})
	for name, text := range files {
		assert.NotEqual(t, "secret", text, name)
	}
	assert.Equal(t, "nats", files["./inside"])
	assert.Equal(t, "nats", files["./inside-absolute"])
	assert.Len(t, files, 6)
	slices.Sort(result.Skipped)
	assert.Subset(t, result.Skipped, []string{"absolute", "circle", "dangling", "directory", "fifo", "relative", "self"})
	assert.Len(t, result.Skipped, 8, "and the directory that is too deep")
}

// changing is a writer that makes a log shorter, and longer, while it is read.
type changing struct {
	bytes.Buffer
	change func()
}

func (c *changing) Write(p []byte) (int, error) {
	if c.change != nil {
		c.change()
		c.change = nil
	}
	return c.Buffer.Write(p)
}

func TestBundleOfChangingLogs(t *testing.T) {
	cfg := logs.Config{Base: t.TempDir()}
	name := filepath.Join(cfg.Base, "bosh/log/current")
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	noise := make([]byte, 4<<20) // more than buffers hold, and hard to compress
	state := uint32(1)
	for i := range noise {
		state = state*1664525 + 1013904223
		noise[i] = byte(state>>24) | 1
	}
	require.NoError(t, os.WriteFile(name, noise, 0o600))
	past := time.Unix(1_400_000_000, 0)
	require.NoError(t, os.Chtimes(name, past, past))
	shrinks := &changing{change: func() { require.NoError(t, os.Truncate(name, 1000)) }}
	_, err := logs.Write(t.Context(), shrinks, cfg, []logs.Type{logs.Agent}, nil)
	require.NoError(t, err)
	text := unpack(t, shrinks.Bytes())["./current"]
	assert.Len(t, text, len(noise))
	assert.True(t, strings.HasSuffix(text, strings.Repeat("\x00", 1<<20)))

	require.NoError(t, os.WriteFile(name, noise, 0o600))
	grows := &changing{change: func() { require.NoError(t, os.WriteFile(name, append(noise, noise...), 0o600)) }}
	_, err = logs.Write(t.Context(), grows, cfg, []logs.Type{logs.Agent}, nil)
	require.NoError(t, err)
	assert.Len(t, unpack(t, grows.Bytes())["./current"], len(noise))

	ctx, cancel := context.WithCancel(t.Context())
	_, err = logs.Write(ctx, &changing{change: cancel}, cfg, []logs.Type{logs.Agent}, nil)
	require.ErrorIs(t, err, context.Canceled)
	broken, w := io.Pipe()
	require.NoError(t, broken.Close())
	_, err = logs.Write(t.Context(), w, cfg, []logs.Type{logs.Agent}, nil)
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestBundleRefuses(t *testing.T) {
	cfg := machine(t)
	write := func(cfg logs.Config, t logs.Type, filters ...string) error {
		_, err := logs.Write(context.Background(), io.Discard, cfg, []logs.Type{t}, filters)
		return err
	}
	require.ErrorIs(t, write(cfg, "weird"), logs.ErrType)
	require.ErrorContains(t, write(logs.Config{}, logs.Job), "Base")
	for _, filter := range []string{"[", "{a", strings.Repeat("a", 2000), strings.Repeat("{a,b}", 20)} {
		require.ErrorIs(t, write(cfg, logs.Job, filter), logs.ErrPattern, filter)
	}
	require.ErrorIs(t, write(cfg, logs.Job, make([]string, 200)...), logs.ErrPattern)
	small := cfg
	small.MaxBytes = 12
	require.ErrorIs(t, write(small, logs.Job), logs.ErrTooLarge)
	require.NoError(t, write(small, logs.Job, "web"))
	few := cfg
	few.MaxFiles = 6
	require.ErrorIs(t, write(few, logs.Job), logs.ErrTooLarge)
}

func TestParseTypes(t *testing.T) {
	types, err := logs.ParseTypes("job, agent,system,job")
	require.NoError(t, err)
	assert.Equal(t, []logs.Type{logs.Job, logs.Agent, logs.System}, types)
	for _, list := range []string{"", "weird", "job,", "Job"} {
		_, err := logs.ParseTypes(list)
		require.ErrorIs(t, err, logs.ErrType)
		require.ErrorContains(t, err, "Invalid log type")
	}
}

func FuzzFilter(f *testing.F) {
	dir := f.TempDir()
	require.NoError(f, os.MkdirAll(filepath.Join(dir, "sys/log/nats"), 0o755))
	require.NoError(f, os.WriteFile(filepath.Join(dir, "sys/log/nats/nats.log"), nil, 0o600))
	for _, filter := range []string{"**/*.log", "{nats,web}/**", "[a-z]*", `\*`} {
		f.Add(filter)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		result, err := logs.Write(t.Context(), io.Discard, logs.Config{Base: dir}, []logs.Type{logs.Job}, []string{filter})
		if err != nil {
			require.ErrorIs(t, err, logs.ErrPattern)
			return
		}
		require.LessOrEqual(t, result.Files, 1)
	})
}
