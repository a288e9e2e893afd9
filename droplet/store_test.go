package droplet_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
)

func newStore(t testing.TB, dir string, opts droplet.StoreOptions) *droplet.Store {
	t.Helper()
	store, err := droplet.NewStore(dir, opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, store.Close()) })
	return store
}

func digestOf(content string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(content))) }

// serve is a fetch function that counts its calls.
func serve(content string, calls *atomic.Int32) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		calls.Add(1)
		_, err := io.WriteString(w, content)
		return err
	}
}

func never(t *testing.T) func(context.Context, io.Writer) error {
	return func(context.Context, io.Writer) error {
		t.Error("downloaded what is there")
		return errors.New("not to be called")
	}
}

func content(t *testing.T, ref *droplet.Ref) string {
	t.Helper()
	f, err := ref.Open()
	require.NoError(t, err)
	defer f.Close()
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(data)
}

// leftovers returns what stands in the directory besides droplets and the lock.
func leftovers(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		if len(entry.Name()) != 40 && entry.Name() != ".lock" {
			names = append(names, entry.Name())
		}
	}
	return names
}

func TestFetch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "droplets")
	store := newStore(t, dir, droplet.StoreOptions{})
	var calls atomic.Int32
	ref, err := store.Fetch(t.Context(), strings.ToUpper(digestOf("one")), serve("one", &calls))
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, digestOf("one"), "droplet.tgz"), ref.Path())
	assert.Equal(t, digestOf("one"), ref.SHA1())
	assert.Equal(t, "one", content(t, ref))
	info, err := os.Stat(ref.Path())
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o744), info.Mode())

	again, err := store.Fetch(t.Context(), digestOf("one"), never(t))
	require.NoError(t, err)
	again.Release()
	require.NoError(t, os.WriteFile(ref.Path(), []byte("two"), 0o744))
	healed, err := store.Fetch(t.Context(), digestOf("one"), serve("one", &calls))
	require.NoError(t, err)
	assert.Equal(t, "one", content(t, healed))
	assert.EqualValues(t, 2, calls.Load())
	healed.Release()
	ref.Release()
	assert.Empty(t, leftovers(t, dir))
}

func TestFetchFindsDropletsOfAnEarlierStore(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{digestOf("good"): "good", digestOf("other"): "damaged"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "droplet.tgz"), []byte(content), 0o744))
	}
	gone := filepath.Join(dir, digestOf("x")+".deleted.1391248800.deleted.1391248900")
	require.NoError(t, os.Mkdir(gone, 0o755))
	require.NoError(t, os.WriteFile(gone+"/droplet.tgz", nil, 0o744))
	require.NoError(t, os.WriteFile(dir+"/.incoming-ABC", nil, 0o600))
	require.NoError(t, os.WriteFile(dir+"/README", nil, 0o600))

	store := newStore(t, dir, droplet.StoreOptions{})
	assert.Equal(t, []string{"README"}, leftovers(t, dir))
	ref, err := store.Fetch(t.Context(), digestOf("good"), never(t))
	require.NoError(t, err)
	defer ref.Release()
	var calls atomic.Int32
	other, err := store.Fetch(t.Context(), digestOf("other"), serve("other", &calls))
	require.NoError(t, err)
	defer other.Release()
	assert.EqualValues(t, 1, calls.Load())
}

func TestFetchFails(t *testing.T) {
	dir := t.TempDir()
	store := newStore(t, dir, droplet.StoreOptions{})
	var calls atomic.Int32
	_, err := store.Fetch(t.Context(), digestOf("one"), serve("other", &calls))
	require.ErrorIs(t, err, droplet.ErrDigestMismatch)
	broken := errors.New("connection reset")
	_, err = store.Fetch(t.Context(), digestOf("one"), func(_ context.Context, w io.Writer) error {
		_, _ = io.WriteString(w, "on")
		return broken
	})
	require.Equal(t, broken, err)
	for _, digest := range []string{"", "..", "abc", digestOf("x") + "/", strings.Repeat("g", 40)} {
		_, err = store.Fetch(t.Context(), digest, never(t))
		require.Error(t, err, digest)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "only the lock is left")
}

func TestTenStartsShareOneDownload(t *testing.T) {
	for name, result := range map[string]error{"success": nil, "failure": errors.New("Error downloading: HTTP status: 404")} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, t.TempDir(), droplet.StoreOptions{})
			const starts = 10
			asked, waiting := make(chan struct{}), make(chan struct{}, starts)
			var calls atomic.Int32
			fetch := func(_ context.Context, w io.Writer) error {
				calls.Add(1)
				<-asked
				_, _ = io.WriteString(w, "droplet")
				return result
			}
			var all sync.WaitGroup
			errs := make([]error, starts)
			for i := range starts {
				all.Go(func() {
					waiting <- struct{}{}
					ref, err := store.Fetch(t.Context(), digestOf("droplet"), fetch)
					errs[i] = err
					if err == nil {
						ref.Release()
					}
				})
			}
			for range starts {
				<-waiting
			}
			require.Eventually(t, func() bool { return store.Waiters(digestOf("droplet")) == starts }, 10*time.Second, time.Millisecond)
			close(asked)
			all.Wait()
			for _, err := range errs {
				assert.Equal(t, result, err)
			}
			assert.EqualValues(t, 1, calls.Load())
		})
	}
}

func TestDownloadOutlivesTheFirstCaller(t *testing.T) {
	store := newStore(t, t.TempDir(), droplet.StoreOptions{})
	started, release := make(chan struct{}), make(chan struct{})
	fetch := func(ctx context.Context, w io.Writer) error {
		close(started)
		select {
		case <-release:
			_, err := io.WriteString(w, "droplet")
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	first, cancel := context.WithCancel(t.Context())
	firstErr := make(chan error, 1)
	go func() {
		_, err := store.Fetch(first, digestOf("droplet"), fetch)
		firstErr <- err
	}()
	<-started
	second := make(chan *droplet.Ref, 1)
	go func() {
		ref, _ := store.Fetch(context.Background(), digestOf("droplet"), never(t))
		second <- ref
	}()
	require.Eventually(t, func() bool { return store.Waiters(digestOf("droplet")) == 2 }, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-firstErr, context.Canceled)
	close(release)
	ref := <-second
	require.NotNil(t, ref)
	assert.Equal(t, "droplet", content(t, ref))
	ref.Release()
}

func TestDownloadEndsWithTheLastCaller(t *testing.T) {
	dir := t.TempDir()
	store := newStore(t, dir, droplet.StoreOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	_, err := store.Fetch(ctx, digestOf("droplet"), func(ctx context.Context, w io.Writer) error {
		defer close(ended)
		_, _ = io.WriteString(w, "drop")
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	require.ErrorIs(t, err, context.Canceled)
	<-ended
	// Whoever comes now does not get the cancelled download.
	var calls atomic.Int32
	ref, err := store.Fetch(t.Context(), digestOf("droplet"), serve("droplet", &calls))
	require.NoError(t, err)
	assert.EqualValues(t, 1, calls.Load())
	ref.Release()
	require.NoError(t, store.Close())
	assert.Empty(t, leftovers(t, dir))
}

func TestCloseEndsDownloads(t *testing.T) {
	store := newStore(t, t.TempDir(), droplet.StoreOptions{})
	started := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		_, err := store.Fetch(context.Background(), digestOf("droplet"), func(ctx context.Context, _ io.Writer) error {
			close(started)
			<-ctx.Done()
			return ctx.Err()
		})
		failed <- err
	}()
	<-started
	require.NoError(t, store.Close())
	require.ErrorIs(t, <-failed, context.Canceled)
	_, err := store.Fetch(t.Context(), digestOf("droplet"), never(t))
	require.ErrorIs(t, err, droplet.ErrStoreClosed)
	_, _, err = store.Put(t.Context(), strings.NewReader("x"))
	require.ErrorIs(t, err, droplet.ErrStoreClosed)
	_, err = store.Evict(t.Context())
	require.ErrorIs(t, err, droplet.ErrStoreClosed)
}

func TestDirectoryBelongsToOneStore(t *testing.T) {
	dir := t.TempDir()
	store := newStore(t, dir, droplet.StoreOptions{})
	_, err := droplet.NewStore(dir, droplet.StoreOptions{})
	require.ErrorIs(t, err, droplet.ErrStoreLocked)
	require.NoError(t, store.Close())
	newStore(t, dir, droplet.StoreOptions{})
}

func TestPut(t *testing.T) {
	dir := t.TempDir()
	store := newStore(t, dir, droplet.StoreOptions{})
	for range 2 {
		digest, ref, err := store.Put(t.Context(), strings.NewReader("fresh"))
		require.NoError(t, err)
		assert.Equal(t, digestOf("fresh"), digest.SHA1)
		assert.EqualValues(t, 5, digest.Size)
		assert.Equal(t, "fresh", content(t, ref))
		ref.Release()
	}
	ref, err := store.Fetch(t.Context(), digestOf("fresh"), never(t))
	require.NoError(t, err)
	ref.Release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = store.Put(ctx, strings.NewReader("late"))
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, leftovers(t, dir))
}

func TestEvict(t *testing.T) {
	dir := t.TempDir()
	store := newStore(t, dir, droplet.StoreOptions{})
	_, kept, err := store.Put(t.Context(), strings.NewReader("kept"))
	require.NoError(t, err)
	_, unused, err := store.Put(t.Context(), strings.NewReader("unused"))
	require.NoError(t, err)
	unused.Release()
	unused.Release()
	usage, err := store.Usage()
	require.NoError(t, err)
	assert.Equal(t, droplet.Usage{Droplets: 2, InUse: 1, Bytes: 10}, usage)

	removed, err := store.Evict(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, removed)
	assert.NoDirExists(t, filepath.Dir(unused.Path()))
	assert.Equal(t, "kept", content(t, kept))
	assert.Empty(t, leftovers(t, dir))
	kept.Release()
	removed, err = store.Evict(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, removed)
}

func TestEvictSparesWhatWasUsedLately(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		evict := func(store *droplet.Store, want int) {
			t.Helper()
			removed, err := store.Evict(t.Context())
			require.NoError(t, err)
			assert.Equal(t, want, removed)
		}
		store := newStore(t, dir, droplet.StoreOptions{KeepFor: time.Hour})
		_, ref, err := store.Put(t.Context(), strings.NewReader("fresh"))
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		ref.Release()
		evict(store, 0)
		time.Sleep(time.Hour - 1)
		evict(store, 0)
		require.NoError(t, store.Close())

		store = newStore(t, dir, droplet.StoreOptions{KeepFor: time.Hour})
		evict(store, 0)
		time.Sleep(time.Hour)
		evict(store, 1)
	})
}

// Many goroutines fetch, put and evict a few droplets; whoever holds a Ref must find his droplet.
func TestStoreUnderLoad(t *testing.T) {
	dir := t.TempDir()
	store := newStore(t, dir, droplet.StoreOptions{})
	contents := []string{"a", "b", "c", "d"}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 60 {
				want := contents[random.IntN(len(contents))]
				ctx, cancel := context.WithCancel(context.Background())
				switch random.IntN(5) {
				case 0:
					_, err := store.Evict(ctx)
					assert.NoError(t, err)
				case 1:
					_, ref, err := store.Put(ctx, strings.NewReader(want))
					if assert.NoError(t, err) {
						assert.Equal(t, want, content(t, ref))
						ref.Release()
					}
				default:
					hurry := random.IntN(3) == 0
					ref, err := store.Fetch(ctx, digestOf(want), func(_ context.Context, w io.Writer) error {
						if hurry {
							cancel()
						}
						_, err := io.WriteString(w, want)
						return err
					})
					if err != nil {
						assert.ErrorIs(t, err, context.Canceled)
						break
					}
					assert.Equal(t, want, content(t, ref))
					ref.Release()
				}
				cancel()
			}
		})
	}
	all.Wait()
	_, err := store.Evict(t.Context())
	require.NoError(t, err)
	require.NoError(t, store.Close())
	assert.Empty(t, leftovers(t, dir))
}

func ExampleStore() {
	dir, err := os.MkdirTemp("", "droplets")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := droplet.NewStore(dir, droplet.StoreOptions{})
	if err != nil {
		panic(err)
	}
	defer store.Close()

	download := func(_ context.Context, w io.Writer) error {
		fmt.Println("downloading")
		_, err := io.Copy(w, bytes.NewReader([]byte("a droplet")))
		return err
	}
	for range 2 {
		ref, err := store.Fetch(context.Background(), digestOf("a droplet"), download)
		if err != nil {
			panic(err)
		}
		fmt.Println(filepath.Base(ref.Path()))
		ref.Release()
	}
	// Output:
	// downloading
	// droplet.tgz
	// droplet.tgz
}
