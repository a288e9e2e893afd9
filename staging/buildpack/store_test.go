package buildpack_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/staging/buildpack"
)

func openStore(t *testing.T, dir string, opts buildpack.StoreOptions) *buildpack.Store {
	t.Helper()
	store, err := buildpack.OpenStore(dir, opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, store.Close()) })
	return store
}

// serve is a download of data, and counts how often it is made.
func serve(data []byte, calls *atomic.Int32) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		calls.Add(1)
		_, err := w.Write(data)
		return err
	}
}

func children(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if e.Name() != ".lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestStoreKeepsWhatItGot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "admin_buildpacks")
	store := openStore(t, dir, buildpack.StoreOptions{})
	files := stagetest.Scripts("exit 0", "exit 0", "exit 0")
	files["lib/data"] = "data"
	files["lib/link -> data"] = ""
	files[".hidden"] = ""
	files["absolute -> /usr/lib"] = ""
	var calls atomic.Int32

	ref, err := store.Get(t.Context(), "b1_0f3c", serve(files.Zip(t), &calls))
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "b1_0f3c"), ref.Path())
	assert.Equal(t, []string{"b1_0f3c"}, children(t, dir))
	for name, mode := range map[string]fs.FileMode{
		"": fs.ModeDir | 0o755, "bin/detect": 0o755, "lib": fs.ModeDir | 0o755, "lib/data": 0o640, ".hidden": 0o640,
		"lib/link": fs.ModeSymlink | 0o777,
	} {
		info, err := os.Lstat(filepath.Join(ref.Path(), name))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode(), name)
	}
	bp, err := ref.Buildpack()
	require.NoError(t, err)
	assert.Equal(t, "b1_0f3c", bp.Key())
	assert.Equal(t, ref.Path(), bp.Path())

	again, err := store.Get(t.Context(), "b1_0f3c", serve(nil, &calls))
	require.NoError(t, err)
	assert.EqualValues(t, 1, calls.Load())

	removed, err := store.Prune(t.Context(), nil)
	require.NoError(t, err)
	assert.Zero(t, removed, "it is in use")
	ref.Release()
	ref.Release()
	removed, err = store.Prune(t.Context(), nil)
	require.NoError(t, err)
	assert.Zero(t, removed, "it is still in use")
	again.Release()
	removed, err = store.Prune(t.Context(), []string{"b1_0f3c"})
	require.NoError(t, err)
	assert.Zero(t, removed, "it is wanted")
	removed, err = store.Prune(t.Context(), []string{"other"})
	require.NoError(t, err)
	assert.Equal(t, 1, removed)
	assert.Empty(t, children(t, dir))
}

func TestStoreDownloadsOnce(t *testing.T) {
	store := openStore(t, t.TempDir(), buildpack.StoreOptions{})
	data := stagetest.Files{"a": "a"}.Zip(t)
	var calls atomic.Int32
	release := make(chan struct{})
	download := func(_ context.Context, w io.Writer) error {
		calls.Add(1)
		<-release
		_, err := w.Write(data)
		return err
	}
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			ref, err := store.Get(t.Context(), "k", download)
			if assert.NoError(t, err) {
				ref.Release()
			}
		})
	}
	close(release)
	group.Wait()
	assert.EqualValues(t, 1, calls.Load())
}

func TestStoreTriesDownloadsAgain(t *testing.T) {
	fault := errors.New("a fault")
	for failures, want := range map[int32]error{2: nil, 3: fault} {
		store := openStore(t, t.TempDir(), buildpack.StoreOptions{})
		data := stagetest.Files{"a": "a"}.Zip(t)
		var calls atomic.Int32
		_, err := store.Get(t.Context(), "k", func(_ context.Context, w io.Writer) error {
			if calls.Add(1) <= failures {
				_, _ = io.WriteString(w, "half of it")
				return fault
			}
			_, err := w.Write(data)
			return err
		})
		assert.ErrorIs(t, err, want)
		assert.EqualValues(t, 3, calls.Load())
	}
}

func TestStoreRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		zip  []byte
		want error
	}{
		{"way out", stagetest.Files{"../evil": ""}.Zip(t), tarball.ErrPath},
		{"absolute", stagetest.Files{"/evil": ""}.Zip(t), tarball.ErrPath},
		{"through a link", stagetest.Files{"a -> ..": "", "a/evil": ""}.Zip(t), tarball.ErrLink},
		{"bomb", stagetest.Files{"a": strings.Repeat("\x00", 1<<20)}.Zip(t), tarball.ErrLimit},
		{"too many files", stagetest.Files{"a": "", "b": "", "c": "", "d": ""}.Zip(t), tarball.ErrLimit},
		{"too large", make([]byte, 5000), tarball.ErrLimit},
		{"no zip", []byte("<html>"), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			store := openStore(t, dir, buildpack.StoreOptions{MaxZipBytes: 4096, MaxBytes: 1 << 19, MaxFiles: 3})
			var calls atomic.Int32
			_, err := store.Get(t.Context(), "k", serve(test.zip, &calls))
			require.Error(t, err)
			if test.want != nil {
				assert.ErrorIs(t, err, test.want)
			}
			assert.EqualValues(t, 1, calls.Load(), "another attempt would not help")
			assert.Empty(t, children(t, dir))
		})
	}
	store := openStore(t, t.TempDir(), buildpack.StoreOptions{})
	for _, key := range []string{"", ".", "..", "a/b", "../a", ".lock", "-a", "a b", strings.Repeat("a", 201)} {
		_, err := store.Get(t.Context(), key, nil)
		assert.ErrorIs(t, err, buildpack.ErrKey, key)
	}
}

func TestStoreCancelsDownloadsThatNobodyWaitsFor(t *testing.T) {
	store := openStore(t, t.TempDir(), buildpack.StoreOptions{})
	reason := errors.New("a reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() { <-begun; cancel(reason) }()
	_, err := store.Get(ctx, "k", func(ctx context.Context, _ io.Writer) error {
		close(begun)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	})
	assert.ErrorIs(t, err, reason)
	<-ended
	var calls atomic.Int32
	ref, err := store.Get(t.Context(), "k", serve(stagetest.Files{"a": ""}.Zip(t), &calls))
	require.NoError(t, err)
	ref.Release()
}

func TestStoreCleansUpAfterItsPredecessor(t *testing.T) {
	dir := t.TempDir()
	store := openStore(t, dir, buildpack.StoreOptions{})
	_, err := buildpack.OpenStore(dir, buildpack.StoreOptions{})
	assert.ErrorIs(t, err, buildpack.ErrStoreLocked)
	require.NoError(t, store.Close())
	require.NoError(t, os.MkdirAll(filepath.Join(dir, ".incoming-half/of/it"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(dir, ".incoming-half/of"), 0))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "whole"), 0o755))
	openStore(t, dir, buildpack.StoreOptions{})
	assert.Equal(t, []string{"whole"}, children(t, dir))
	_, err = store.Get(t.Context(), "k", nil)
	assert.ErrorIs(t, err, buildpack.ErrStoreClosed)
}

// TestStoreUnderLoad: what a Ref holds is there and whole, whatever others fetch and remove meanwhile.
func TestStoreUnderLoad(t *testing.T) {
	store := openStore(t, t.TempDir(), buildpack.StoreOptions{})
	data := stagetest.Files{"a": "a", "b": "b"}.Zip(t)
	var calls atomic.Int32
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for round := range 30 {
				key := fmt.Sprint("k", (worker+round)%3)
				ref, err := store.Get(t.Context(), key, serve(data, &calls))
				if !assert.NoError(t, err) {
					return
				}
				_, err = store.Prune(t.Context(), nil)
				assert.NoError(t, err)
				_, err = os.ReadFile(filepath.Join(ref.Path(), "b"))
				assert.NoError(t, err)
				ref.Release()
			}
		})
	}
	group.Wait()
	assert.Greater(t, calls.Load(), int32(2))
}

func TestFile(t *testing.T) {
	store := openStore(t, t.TempDir(), buildpack.StoreOptions{})
	ref, err := store.Get(t.Context(), "k", buildpack.File(stagetest.Save(t, stagetest.Files{"a": ""}.Zip(t))))
	require.NoError(t, err)
	ref.Release()
}
