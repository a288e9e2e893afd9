package runc_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) {
	containertest.Helper()
	helper()
	enterNamespace()
	// What the back end changes for the whole machine, that packets are forwarded, is not set back: containers of others,
	// of another test at the same time for example, may need it by now.
	goleak.VerifyTestMain(m)
}

// requirements skips where containers cannot be.
func requirements(t testing.TB) {
	t.Helper()
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
}

// open returns a back end that is closed with the test, with all its containers.
func open(t testing.TB, opts runc.Options) *runc.Backend {
	t.Helper()
	requirements(t)
	if opts.Depot == "" {
		opts.Depot = depotDir(t)
	}
	if _, err := os.Stat(opts.Depot); err == nil && opts.UserNamespace > 0 {
		require.NoError(t, os.Chmod(opts.Depot, 0o711))
	}
	b, err := runc.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { shut(t, b) })
	return b
}

// depotDir returns a directory, which is removed with the test if it is empty of mounts.
func depotDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "runc-test-")
	require.NoError(t, err)
	t.Cleanup(func() {
		nothingLeft(t, dir)
		require.NoError(t, os.RemoveAll(dir))
	})
	return dir
}

// nothingLeft fails the test if the machine has anything of the containers of a depot.
func nothingLeft(t testing.TB, depot string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), " "+depot+"/", "mounts")
	mark, err := runc.MarkOf(depot)
	require.NoError(t, err)
	for _, pattern := range []string{
		"/sys/fs/cgroup/*/deakit-" + mark, "/sys/fs/cgroup/deakit-" + mark, "/sys/class/net/dk" + mark[:6] + "-*",
	} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		assert.Empty(t, found)
	}
	if withoutRoot() {
		return
	}
	conn, err := nftables.New()
	require.NoError(t, err)
	tables, err := conn.ListTables()
	require.NoError(t, err)
	for _, table := range tables {
		assert.NotEqual(t, "deakit_"+mark, table.Name)
	}
	// What was unmounted lives on for the moment in which another process copies the table of mounts, as runc does.
	assert.Eventually(t, func() bool { return !onLoop(depot) }, 20*time.Second, 10*time.Millisecond, "loop device")
}

// onLoop tells whether a loop device has a file of a depot.
func onLoop(depot string) bool {
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file") // the pattern is good
	for _, f := range backing {
		text, _ := os.ReadFile(f) // it may be gone
		if strings.HasPrefix(string(text), depot+"/") {
			return true
		}
	}
	return false
}

func shut(t testing.TB, b *runc.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

func create(t testing.TB, b *runc.Backend, spec container.Spec) container.Container {
	t.Helper()
	c, err := b.Create(context.Background(), spec)
	require.NoError(t, err)
	return c
}

func TestConformance(t *testing.T) { conformance(t) }

func conformance(t *testing.T) { conformanceWith(t, runc.Options{}) }

// conformanceWith has one back end for all tests but those of survival, as to open it takes its time.
func conformanceWith(t *testing.T, opts runc.Options, groups ...string) {
	const grace = 500 * time.Millisecond
	opts.StopGrace = grace
	shared := sync.OnceValue(func() *runc.Backend { return open(t, opts) })
	containertest.Run(t, containertest.Config{
		StopGrace: grace,
		Groups:    groups,
		Patience:  2 * time.Minute, // a storm of calls takes its time where a base is put together of many parts
		New:       func(*testing.T) container.Backend { return shared() },
		Open: func(t *testing.T, dir string) container.Backend {
			t.Cleanup(func() { nothingLeft(t, dir) })
			opts := opts
			opts.Depot = dir
			for at := filepath.Dir(dir); opts.UserNamespace > 0 && at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
				require.NoError(t, os.Chmod(at, 0o755))
			}
			return open(t, opts)
		},
	})
}

// TestDepotOfOthers refuses directories in which others could do what they like.
func TestDepotOfOthers(t *testing.T) {
	requirements(t)
	for name, spoil := range map[string]func(dir string) error{
		"writable for all":            func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) },
		"writable for a group":        func(dir string) error { return errors.Join(os.Chown(dir, -1, 4321), os.Chmod(dir, 0o775)) },
		"of another user, as a whole": func(dir string) error { return os.Chown(dir, 4321, -1) },
	} {
		depot := depotDir(t)
		require.NoError(t, spoil(depot))
		_, err := runc.New(runc.Options{Depot: depot})
		require.ErrorIs(t, err, container.ErrInvalid, name)
		entries, err := os.ReadDir(depot)
		require.NoError(t, err)
		assert.Empty(t, entries, name)
	}
}

// TestDrawnHandles draws handles that grow, so that none comes twice: after restarts, whatever the clock says, and though
// others chose those that were to come.
func TestDrawnHandles(t *testing.T) {
	depot := depotDir(t)
	last := ""
	for round := range 3 {
		b := open(t, runc.Options{Depot: depot, Network: runc.NetworkOptions{Host: true}})
		for range 2 {
			c := create(t, b, container.Spec{})
			assert.Regexp(t, "^[0-9a-v]{11}$", c.Handle())
			assert.Greater(t, c.Handle(), last)
			last = c.Handle()
			require.NoError(t, c.Destroy(t.Context()))
		}
		shut(t, b)
		if round == 0 { // by a clock that went back since
			last = "vvvvvvvvvuv"
			require.NoError(t, os.WriteFile(filepath.Join(depot, ".deakit-runc"), []byte{0, 0x7f, 255, 255, 255, 255, 255, 223}, 0o600))
		}
	}
	b := open(t, runc.Options{Depot: depot, Network: runc.NetworkOptions{Host: true}})
	create(t, b, container.Spec{Handle: "vvvvvvvvvv4"})
	assert.Equal(t, "vvvvvvvvvv5", create(t, b, container.Spec{}).Handle())
	shut(t, b)
	_, err := b.Create(t.Context(), container.Spec{})
	require.ErrorIs(t, err, runc.ErrClosed)
	require.NoError(t, os.WriteFile(filepath.Join(depot, ".deakit-runc"), []byte("something else"), 0o600))
	_, err = runc.New(runc.Options{Depot: depot})
	require.ErrorContains(t, err, "does not hold the last handle")
}
