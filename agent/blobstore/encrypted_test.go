package blobstore_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/blobstore/blobstoretest"
	"github.com/deakit/deakit/internal/needs"
)

// trickle gives and takes a few bytes at a time.
type trickle struct{ io.ReadSeeker }

func (r trickle) Read(p []byte) (int, error) { return r.ReadSeeker.Read(p[:min(len(p), 7)]) }

// openssl is the judge of what is in the store.
func TestEncrypted(t *testing.T) {
	needs.Tool(t, "openssl", "openssl")
	dir := t.TempDir()
	inner := blobstore.NewLocal(dir, blobstore.LocalOptions{})
	store := blobstore.NewEncrypted(inner, "secret words")
	sum := sha1.Sum([]byte("secret words"))
	openssl := func(in []byte, args ...string) []byte {
		cmd := exec.Command("openssl", append([]string{"enc", "-aes-128-cbc", "-K", hex.EncodeToString(sum[:16]), "-iv", strings.Repeat("0", 32)}, args...)...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		require.NoError(t, err)
		return out
	}
	for _, size := range []int{0, 1, 15, 16, 17, 32<<10 - 16, 32 << 10, 100_000} {
		want := bytes.Repeat([]byte("0123456789a"), size/11+1)[:size]
		require.NoError(t, store.Put(t.Context(), "mine", trickle{bytes.NewReader(want)}))
		kept, err := os.ReadFile(filepath.Join(dir, "mine"))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want, openssl(kept, "-d")), size)

		require.NoError(t, inner.Put(t.Context(), "theirs", bytes.NewReader(openssl(want))))
		var got bytes.Buffer
		require.NoError(t, store.Get(t.Context(), "theirs", &got))
		assert.True(t, bytes.Equal(want, got.Bytes()), size)
	}
}

func TestEncryptedAsAStore(t *testing.T) {
	blobstoretest.Run(t, func(t *testing.T) blobstore.Store {
		return blobstore.NewEncrypted(blobstore.NewLocal(t.TempDir(), blobstore.LocalOptions{}), "k")
	}, blobstoretest.Options{})
}

// A signature has S3 read a blob twice, and the store is asked for what the options of the Ruby client say.
func TestEncryptedInS3(t *testing.T) {
	url, kept := serve(t, s3Server)
	options := map[string]any{
		"bucket_name": "bucket", "folder": "cf", "region": "eu-west-1", "access_key_id": "KEY", "secret_access_key": "s", "use_ssl": false,
		"host": strings.TrimPrefix(url, "http://"), "encryption_key": "k",
	}
	store, err := blobstore.Open("s3", options, blobstore.Environment{})
	require.NoError(t, err)
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("plain text")))
	kept.mu.Lock()
	for _, data := range kept.kept {
		assert.Len(t, data, 16)
		assert.NotContains(t, string(data), "plain")
	}
	assert.Len(t, kept.kept, 1)
	kept.mu.Unlock()
	var got bytes.Buffer
	require.NoError(t, store.Get(t.Context(), "id", &got))
	assert.Equal(t, "plain text", got.String())
	there, err := store.Exists(t.Context(), "id")
	require.NoError(t, err)
	assert.True(t, there)
	require.NoError(t, store.Delete(t.Context(), "id"))
	require.ErrorIs(t, store.Get(t.Context(), "id", &got), blobstore.ErrNotFound)
}

func TestNotEncryptedWithThisKey(t *testing.T) {
	inner := blobstore.NewLocal(t.TempDir(), blobstore.LocalOptions{})
	store := blobstore.NewEncrypted(inner, "k")
	for _, content := range []string{"", "short", strings.Repeat("x", 16), strings.Repeat("x", 33), strings.Repeat("x", 64)} {
		require.NoError(t, inner.Put(t.Context(), "id", strings.NewReader(content)))
		require.ErrorIs(t, store.Get(t.Context(), "id", io.Discard), blobstore.ErrCipher, content)
	}
}
