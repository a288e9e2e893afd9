package blobstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/digest"
)

func mkfifo(name string) error { return syscall.Mkfifo(name, 0o600) }

func digestOf(t *testing.T, text string) digest.Digest {
	t.Helper()
	d, err := digest.Of(strings.NewReader(text), digest.SHA256)
	require.NoError(t, err)
	return d
}

// place is a client with a store and two directories of blobs that were sent to it.
func place(t *testing.T, store blobstore.Store, change func(*blobstore.Config)) (*blobstore.Client, blobstore.Config) {
	t.Helper()
	base := t.TempDir()
	cfg := blobstore.Config{
		Store: store, TempDir: filepath.Join(base, "tmp"), Delay: -1, SignedDelay: -1, HTTP: client(t),
		Sent: []*blobstore.Local{
			blobstore.NewLocal(filepath.Join(base, "sensitive_blobs"), blobstore.LocalOptions{}),
			blobstore.NewLocal(filepath.Join(base, "blobs"), blobstore.LocalOptions{}),
		},
	}
	require.NoError(t, os.Mkdir(cfg.TempDir, 0o700))
	if change != nil {
		change(&cfg)
	}
	c, err := blobstore.NewClient(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		left, err := os.ReadDir(cfg.TempDir)
		assert.NoError(t, err)
		assert.Empty(t, left, "temporary files are left")
	})
	return c, cfg
}

func read(t *testing.T, f *blobstore.File, err error) string {
	t.Helper()
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(data)
}

func TestLookupOrder(t *testing.T) {
	store := blobstore.NewLocal(t.TempDir(), blobstore.LocalOptions{})
	c, cfg := place(t, store, nil)
	ctx, none := t.Context(), digest.Digest{}

	_, err := c.Get(ctx, "id", none)
	require.ErrorIs(t, err, blobstore.ErrNotFound)
	require.NoError(t, store.Put(ctx, "id", strings.NewReader("in the store")))
	f, err := c.Get(ctx, "id", digestOf(t, "in the store"))
	assert.Equal(t, "in the store", read(t, f, err))
	require.NoError(t, cfg.Sent[1].Put(ctx, "id", strings.NewReader("put over HTTPS")))
	f, err = c.Get(ctx, "id", none)
	assert.Equal(t, "put over HTTPS", read(t, f, err))
	require.NoError(t, cfg.Sent[0].Put(ctx, "id", strings.NewReader("uploaded")))
	f, err = c.Get(ctx, "id", digestOf(t, "uploaded"))
	assert.Equal(t, "uploaded", read(t, f, err))

	_, err = c.Get(ctx, "id", digestOf(t, "in the store"))
	var mismatch *digest.MismatchError
	require.ErrorAs(t, err, &mismatch)

	require.NoError(t, c.Forget(ctx, "id"))
	f, err = c.Get(ctx, "id", none)
	assert.Equal(t, "in the store", read(t, f, err), "only what was sent is forgotten")
	_, err = c.Get(ctx, "../id", none)
	require.ErrorIs(t, err, blobstore.ErrInvalidID)
}

// A failing store fails so often, and then works.
type failing struct {
	blobstore.Store
	failures int
	calls    int
	err      error
	wrong    bool // a wrong content instead of an error
}

func (f *failing) Get(ctx context.Context, id string, w io.Writer) error {
	f.calls++
	if f.calls > f.failures {
		return f.Store.Get(ctx, id, w)
	}
	_, err := io.WriteString(w, "a part")
	if f.wrong {
		return err
	}
	return f.err
}

func (f *failing) Put(ctx context.Context, id string, r io.ReadSeeker) error {
	f.calls++
	if f.calls > f.failures {
		return f.Store.Put(ctx, id, r)
	}
	_, _ = io.CopyN(io.Discard, r, 3)
	return f.err
}

func TestTriesAgain(t *testing.T) {
	broken := errors.New("connection reset by peer")
	for _, wrong := range []bool{false, true} {
		for failures, succeeds := range map[int]bool{0: true, 2: true, 3: false} {
			t.Run(fmt.Sprintf("%d failures, wrong %v", failures, wrong), func(t *testing.T) {
				store := &failing{Store: blobstore.NewLocal(t.TempDir(), blobstore.LocalOptions{}), failures: failures, err: broken, wrong: wrong}
				require.NoError(t, store.Store.Put(t.Context(), "id", strings.NewReader("whole")))
				c, _ := place(t, store, nil)
				f, err := c.Get(t.Context(), "id", digestOf(t, "whole"))
				if succeeds {
					assert.Equal(t, "whole", read(t, f, err))
					return
				}
				assert.Equal(t, 3, store.calls)
				if mismatch := (*digest.MismatchError)(nil); wrong {
					require.ErrorAs(t, err, &mismatch)
				} else {
					require.ErrorIs(t, err, broken)
				}
			})
		}
	}

	store := &failing{Store: blobstore.NewLocal(t.TempDir(), blobstore.LocalOptions{}), failures: 2, err: broken}
	c, _ := place(t, store, nil)
	id, d, err := c.Put(t.Context(), strings.NewReader("abc"))
	require.NoError(t, err)
	assert.Equal(t, "a9993e364706816aba3e25717850c26c9cd0d89d", d.String())
	assert.Regexp(t, regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`), id)
	f, err := c.Get(t.Context(), id, d)
	assert.Equal(t, "abc", read(t, f, err))
	store.calls, store.failures = 0, 3
	_, _, err = c.Put(t.Context(), strings.NewReader("abc"))
	require.ErrorIs(t, err, broken)
}

func TestWhatCannotPassIsNotTriedAgain(t *testing.T) {
	for _, err := range []error{blobstore.ErrNotFound, blobstore.ErrReadOnly, syscall.ENOSPC} {
		store := &failing{failures: 9, err: fmt.Errorf("said the store: %w", err)}
		c, _ := place(t, store, nil)
		_, got := c.Get(t.Context(), "id", digest.Digest{})
		require.ErrorIs(t, got, err)
		assert.Equal(t, 1, store.calls)
	}
	store := blobstore.NewLocal(t.TempDir(), blobstore.LocalOptions{})
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("more than ten bytes")))
	c, _ := place(t, store, func(cfg *blobstore.Config) { cfg.MaxBytes = 10 })
	_, err := c.Get(t.Context(), "id", digest.Digest{})
	require.ErrorIs(t, err, blobstore.ErrTooLarge)
	unknown, err := digest.Parse("md5:00")
	require.NoError(t, err)
	_, err = c.Get(t.Context(), "id", unknown)
	require.ErrorContains(t, err, "unknown algorithm")
}

func TestDelayBetweenTries(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := &failing{failures: 9, err: errors.New("down")}
		c, err := blobstore.NewClient(blobstore.Config{Store: store, TempDir: dir})
		require.NoError(t, err)
		began := time.Now()
		_, err = c.Get(t.Context(), "id", digest.Digest{})
		require.Error(t, err)
		assert.Equal(t, time.Second, time.Since(began), "twice half a second")

		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(100 * time.Millisecond)
			cancel()
		}()
		began = time.Now()
		_, err = c.Get(ctx, "id", digest.Digest{})
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 100*time.Millisecond, time.Since(began))
	})
}

func TestCleanRemovesWhatAKilledProcessLeft(t *testing.T) {
	c, cfg := place(t, blobstore.Dummy{}, nil)
	require.NoError(t, os.Mkdir(cfg.Sent[0].Dir(), 0o700))
	for _, dir := range []string{cfg.TempDir, cfg.Sent[0].Dir()} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".incoming-x"), nil, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Sent[0].Dir(), "blob"), nil, 0o600))
	require.NoError(t, c.Clean())
	left, err := os.ReadDir(cfg.Sent[0].Dir())
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

func TestSignedURLs(t *testing.T) {
	signer, err := blobstore.NewDAVSigner("http://unused:1/blobs/", "secret")
	require.NoError(t, err)
	var failures atomic.Int32
	url, kept := serve(t, func(w http.ResponseWriter, r *http.Request, kept *objects) {
		path, ok := strings.CutPrefix(r.URL.Path, "/blobs/signed/")
		if !ok || signer.Verify(r.Method, path, r.URL.Query(), time.Now()) != nil || r.Header.Get("X-Encryption") != "on" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if failures.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		id := path[3:]
		if r.Method == http.MethodGet {
			kept.get(w, id)
			return
		}
		assert.Equal(t, "*/*", r.Header.Get("Accept"))
		assert.Equal(t, "100-continue", r.Header.Get("Expect"))
		assert.Equal(t, int64(3), r.ContentLength)
		kept.put(w, r.Body, id, http.StatusAccepted)
	})
	signer, err = blobstore.NewDAVSigner(url+"/blobs", "secret")
	require.NoError(t, err)
	c, _ := place(t, blobstore.Dummy{}, nil)
	headers := map[string]string{"x-encryption": "on"}

	to, err := signer.URL(http.MethodPut, "id", time.Now(), time.Hour)
	require.NoError(t, err)
	d, err := c.PutSigned(t.Context(), to, headers, strings.NewReader("abc"))
	require.NoError(t, err)
	assert.Equal(t, "a9993e364706816aba3e25717850c26c9cd0d89d;sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"+
		"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f", d.String())
	assert.Equal(t, "abc", string(kept.kept["id"]))

	from, err := signer.URL(http.MethodGet, "id", time.Now(), time.Hour)
	require.NoError(t, err)
	failures.Store(2)
	f, err := c.GetSigned(t.Context(), from, headers, d)
	assert.Equal(t, "abc", read(t, f, err))

	failures.Store(3)
	_, err = c.GetSigned(t.Context(), from, headers, d)
	require.ErrorContains(t, err, "Could not fetch object, 503/")
	for name, err := range map[string]error{
		"signature for another method": func() error { _, err := c.PutSigned(t.Context(), from, headers, strings.NewReader("x")); return err }(),
		"no headers":                   func() error { _, err := c.GetSigned(t.Context(), from, nil, d); return err }(),
		"nobody there": func() error {
			_, err := c.GetSigned(t.Context(), "http://127.0.0.1:1/signed/?st=sigsigsig", nil, d)
			return err
		}(),
		"no URL": func() error { _, err := c.GetSigned(t.Context(), "::sigsigsig", nil, d); return err }(),
	} {
		require.Error(t, err, name)
		assert.NotContains(t, err.Error(), "st=", name)
		assert.NotContains(t, err.Error(), "sigsigsig", name)
	}
}

// TestDAVSignature against a signature made by the openssl tool:
//
//	printf 'GET18/id-11600000000900' | openssl dgst -sha256 -hmac secret -binary | basenc --base64url
func TestDAVSignature(t *testing.T) {
	signer, err := blobstore.NewDAVSigner("https://blobs.example.com", "secret")
	require.NoError(t, err)
	at := time.Unix(1600000000, 0)
	url, err := signer.URL(http.MethodGet, "id-1", at, 15*time.Minute)
	require.NoError(t, err)
	assert.Equal(t, "https://blobs.example.com/signed/18/id-1?e=900&st=DS58EC3uRrZ3WxCvtKwybIZn94QSx1qmdxba9ROK_YY&ts=1600000000", url)

	parsed, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	path, query := strings.TrimPrefix(parsed.URL.Path, "/signed/"), parsed.URL.Query()
	require.NoError(t, signer.Verify(http.MethodGet, path, query, at.Add(15*time.Minute)))
	require.ErrorIs(t, signer.Verify(http.MethodGet, path, query, at.Add(901*time.Second)), blobstore.ErrExpired)
	require.ErrorIs(t, signer.Verify(http.MethodPut, path, query, at), blobstore.ErrSignature)
	query.Set("e", "9000")
	require.ErrorIs(t, signer.Verify(http.MethodGet, path, query, at), blobstore.ErrSignature)

	_, err = signer.URL(http.MethodDelete, "id", at, time.Hour)
	require.Error(t, err)
	_, err = signer.URL(http.MethodGet, "../id", at, time.Hour)
	require.ErrorIs(t, err, blobstore.ErrInvalidID)
	_, err = blobstore.NewDAVSigner("https://x", "")
	require.ErrorContains(t, err, "secret")
}
