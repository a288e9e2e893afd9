package shelf_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/internal/shelf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) *shelf.Shelf {
	t.Helper()
	s, err := shelf.Open(t.TempDir(), func(string) bool { return false })
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func TestOpenSweepsAndLocks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a/b")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "half-made/x"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "whole"), 0o755))
	s, err := shelf.Open(dir, func(name string) bool { return name == "half-made" })
	require.NoError(t, err)
	names, err := s.Names()
	require.NoError(t, err)
	slices.Sort(names)
	assert.Equal(t, []string{".lock", "whole"}, names)
	assert.Equal(t, dir, s.Dir())

	_, err = shelf.Open(dir, nil)
	require.ErrorIs(t, err, shelf.ErrLocked)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = s.Begin()
	require.ErrorIs(t, err, shelf.ErrClosed)
	require.ErrorIs(t, s.Fetch(t.Context(), "k", nil), shelf.ErrClosed)
	again, err := shelf.Open(dir, func(string) bool { return false })
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		var calls atomic.Int32
		release := make(chan error)
		for _, want := range []error{errors.New("a fault"), nil} {
			results := make(chan error)
			for range 5 {
				go func() {
					results <- s.Fetch(t.Context(), "k", func(context.Context) error { calls.Add(1); return <-release })
				}()
			}
			synctest.Wait()
			assert.Equal(t, 5, s.Waiting("k"))
			release <- want
			for range 5 {
				assert.Equal(t, want, <-results)
			}
			assert.Zero(t, s.Waiting("k"))
		}
		assert.EqualValues(t, 2, calls.Load())
		for range 5 {
			assert.True(t, s.Held("k"))
			s.Release("k")
		}
		assert.False(t, s.Held("k"))
	})
}

func TestFetchEndsWithTheLastWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		reason := errors.New("a reason")
		var cancels []context.CancelCauseFunc
		results := make(chan error, 2)
		ended := false
		for range 2 {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancels = append(cancels, cancel)
			go func() {
				results <- s.Fetch(ctx, "k", func(ctx context.Context) error { <-ctx.Done(); ended = true; return ctx.Err() })
			}()
			synctest.Wait()
		}
		cancels[0](reason)
		assert.Equal(t, reason, <-results)
		synctest.Wait()
		assert.False(t, ended, "the other one still waits")
		cancels[1](reason)
		assert.Equal(t, reason, <-results)
		synctest.Wait()
		assert.True(t, ended)
		assert.False(t, s.Held("k"))
		require.Equal(t, reason, s.Fetch(canceled(t, reason), "k", nil), "it does not even begin")
	})
}

func canceled(t *testing.T, reason error) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	return ctx
}

func TestCloseEndsFetches(t *testing.T) {
	s, err := shelf.Open(t.TempDir(), func(string) bool { return false })
	require.NoError(t, err)
	began := make(chan struct{})
	go func() { <-began; assert.NoError(t, s.Close()) }()
	err = s.Fetch(t.Context(), "k", func(ctx context.Context) error { close(began); <-ctx.Done(); return ctx.Err() })
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Close())
}

func TestRetire(t *testing.T) {
	s := open(t)
	require.NoError(t, s.Root().Mkdir("k", 0o755))
	s.Hold("k")
	retired, err := s.Retire("k", "gone", nil)
	require.NoError(t, err)
	assert.False(t, retired, "it is held")
	s.Release("k")
	retired, err = s.Retire("k", "gone", func() bool { return true })
	require.NoError(t, err)
	assert.False(t, retired, "it is spared")
	retired, err = s.Retire("k", "gone", func() bool { return false })
	require.NoError(t, err)
	assert.True(t, retired)
	assert.DirExists(t, filepath.Join(s.Dir(), "gone"))
	_, err = s.Retire("k", "gone", nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}
