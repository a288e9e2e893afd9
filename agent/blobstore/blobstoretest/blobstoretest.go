// Package blobstoretest holds what every store of blobs promises, as tests.
package blobstoretest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/blobstore"
)

// Options say what a store cannot do.
type Options struct {
	KeepsExisting bool // Put to an id in use is an ErrExists
	GetAndPutOnly bool // Delete and Exists are errors.ErrUnsupported, and Get tells no missing blob from other failures
}

// Run tests the stores that newStore makes, each empty and for one test.
func Run(t *testing.T, newStore func(*testing.T) blobstore.Store, opts Options) {
	s := suite{newStore, opts}
	for name, test := range map[string]func(*testing.T, blobstore.Store){
		"PutAndGet":     s.putAndGet,
		"Replace":       s.replace,
		"Missing":       s.missing,
		"Delete":        s.remove,
		"HostileIDs":    s.hostileIDs,
		"BrokenSource":  s.brokenSource,
		"BrokenTarget":  s.brokenTarget,
		"EndedContext":  s.endedContext,
		"SeveralAtOnce": s.severalAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, newStore(t)) })
	}
}

type suite struct {
	newStore func(*testing.T) blobstore.Store
	opts     Options
}

// content is the same for the same size.
func content(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(data)
	return data
}

func get(t *testing.T, store blobstore.Store, id string) []byte {
	t.Helper()
	var got bytes.Buffer
	require.NoError(t, store.Get(t.Context(), id, &got))
	return got.Bytes()
}

func (s suite) putAndGet(t *testing.T, store blobstore.Store) {
	for id, data := range map[string][]byte{
		"1f0c6a32-8d0f-4c8e-a4b0-0d9d5ea8c8a1": content(100),
		"router.v1_2-3.tgz":                    content(3<<20 + 1),
		"_":                                    {},
		strings.Repeat("a", 155):               []byte("text"),
	} {
		r := bytes.NewReader(data)
		_, _ = r.Seek(int64(len(data)/2), io.SeekStart) // a store begins at the start, wherever the reader stands
		require.NoError(t, store.Put(t.Context(), id, r), id)
		assert.True(t, bytes.Equal(data, get(t, store, id)), id)
		if !s.opts.GetAndPutOnly {
			there, err := store.Exists(t.Context(), id)
			require.NoError(t, err)
			assert.True(t, there)
		}
	}
}

func (s suite) replace(t *testing.T, store blobstore.Store) {
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("the first one")))
	err := store.Put(t.Context(), "id", strings.NewReader("second"))
	if s.opts.KeepsExisting {
		require.ErrorIs(t, err, blobstore.ErrExists)
		assert.Equal(t, "the first one", string(get(t, store, "id")))
		return
	}
	require.NoError(t, err)
	assert.Equal(t, "second", string(get(t, store, "id")))
}

func (s suite) missing(t *testing.T, store blobstore.Store) {
	err := store.Get(t.Context(), "nowhere", io.Discard)
	require.Error(t, err)
	if s.opts.GetAndPutOnly {
		return
	}
	require.ErrorIs(t, err, blobstore.ErrNotFound)
	assert.Contains(t, err.Error(), "nowhere")
	there, err := store.Exists(t.Context(), "nowhere")
	require.NoError(t, err)
	assert.False(t, there)
}

func (s suite) remove(t *testing.T, store blobstore.Store) {
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("text")))
	err := store.Delete(t.Context(), "id")
	if s.opts.GetAndPutOnly {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = store.Exists(t.Context(), "id")
		require.ErrorIs(t, err, errors.ErrUnsupported)
		return
	}
	require.NoError(t, err)
	require.ErrorIs(t, store.Get(t.Context(), "id", io.Discard), blobstore.ErrNotFound)
	there, err := store.Exists(t.Context(), "id")
	require.NoError(t, err)
	assert.False(t, there)
	require.NoError(t, store.Delete(t.Context(), "id"), "again")
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("again")))
	assert.Equal(t, "again", string(get(t, store, "id")))
}

func (s suite) hostileIDs(t *testing.T, store blobstore.Store) {
	for _, id := range []string{"", ".", "..", "../id", "a/b", "/etc/passwd", ".hidden", "a\x00b", "a b", "a?b", "a%2fb", "a\nb", "ü", strings.Repeat("a", 256)} {
		require.ErrorIs(t, store.Put(t.Context(), id, strings.NewReader("text")), blobstore.ErrInvalidID, id)
		require.ErrorIs(t, store.Get(t.Context(), id, io.Discard), blobstore.ErrInvalidID, id)
		require.ErrorIs(t, store.Delete(t.Context(), id), blobstore.ErrInvalidID, id)
		_, err := store.Exists(t.Context(), id)
		require.ErrorIs(t, err, blobstore.ErrInvalidID, id)
	}
}

// A breaking source fails in the middle.
type breaking struct {
	*bytes.Reader
	left int
	err  error
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.err
	}
	n, err := b.Reader.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (s suite) brokenSource(t *testing.T, store blobstore.Store) {
	broken := errors.New("the disk is broken")
	err := store.Put(t.Context(), "id", &breaking{bytes.NewReader(content(1 << 20)), 300_000, broken})
	require.ErrorIs(t, err, broken)
	require.Error(t, store.Get(t.Context(), "id", io.Discard), "half a blob is there")
}

type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

func (s suite) brokenTarget(t *testing.T, store blobstore.Store) {
	require.NoError(t, store.Put(t.Context(), "id", bytes.NewReader(content(1<<20))))
	full := errors.New("the disk is full")
	require.ErrorIs(t, store.Get(t.Context(), "id", fullDisk{full}), full)
	assert.Equal(t, content(1<<20), get(t, store, "id"))
}

func (s suite) endedContext(t *testing.T, store blobstore.Store) {
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("text")))
	why := errors.New("nobody wants it any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	require.Error(t, store.Put(ctx, "other", bytes.NewReader(content(1<<20))))
	require.Error(t, store.Get(ctx, "id", io.Discard))
	require.Error(t, store.Get(t.Context(), "other", io.Discard), "was stored")
}

func (s suite) severalAtOnce(t *testing.T, store blobstore.Store) {
	done := make(chan error)
	for i := range 4 {
		go func() {
			id, data := string(rune('a'+i)), content(1<<18+i)
			err := store.Put(t.Context(), id, bytes.NewReader(data))
			var got bytes.Buffer
			if err == nil {
				err = store.Get(t.Context(), id, &got)
			}
			if err == nil && !bytes.Equal(data, got.Bytes()) {
				err = errors.New("another content came back")
			}
			done <- err
		}()
	}
	for range 4 {
		assert.NoError(t, <-done)
	}
}
