package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/internal/bundle"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) (string, *bundle.Store) {
	t.Helper()
	base := t.TempDir()
	store, err := bundle.Open(base, bundle.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	return base, store
}

// TestNamesOfDirectories has the names that the Go agent gives.
func TestNamesOfDirectories(t *testing.T) {
	d, err := digest.Parse("sha1:a9993e364706816aba3e25717850c26c9cd0d89d")
	require.NoError(t, err)
	// sha1sum of "9.1-a9993e364706816aba3e25717850c26c9cd0d89d" and of "9.1"
	assert.Equal(t, "data/packages/go/2df677fa0e4aa4bb0c73e96d6000c8c863dc8424", bundle.New(bundle.Packages, "go", "9.1", d).Path())
	assert.Equal(t, "data/packages/go/d28690954e2e5987f92bd27e0f4409ee779a4943", bundle.Compiling("go", "9.1").Path())
	assert.Equal(t, "packages/go", bundle.Compiling("go", "9.1").Link())
}

func TestKindsOfArchives(t *testing.T) {
	plain := blobtest.Tar(t, "./", blobtest.Files{"": "", "bin/x": "content", "abs": "-> /var/vcap/packages/y/bin"})
	var small bytes.Buffer
	z, err := zstd.NewWriter(&small)
	require.NoError(t, err)
	_, err = z.Write(plain)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	bzip := exec.Command(needs.Tool(t, "bzip2", "bzip2"), "-c")
	bzip.Stdin = bytes.NewReader(plain)
	bzipped, err := bzip.Output()
	require.NoError(t, err)
	gzipped := blobtest.Tgz(t, "./", blobtest.Files{"bin/x": "content"})
	for name, test := range map[string]struct {
		archive []byte
		plain   bool
	}{"plain": {plain, true}, "gzip": {gzipped, false}, "zstd": {small.Bytes(), false}, "bzip2": {bzipped, false}} {
		base, store := open(t)
		aside, err := store.Aside(bundle.Packages)
		require.NoError(t, err)
		got, err := store.Extract(t.Context(), bytes.NewReader(test.archive), aside)
		require.NoError(t, err, name)
		assert.Equal(t, test.plain, got, name)
		data, err := os.ReadFile(filepath.Join(base, aside, "bin/x"))
		require.NoError(t, err)
		assert.Equal(t, "content", string(data))
	}
	for name, test := range map[string]struct {
		archive []byte
		want    error
	}{
		"empty":      {nil, bundle.ErrNotArchive},
		"text":       {[]byte("Not found"), bundle.ErrNotArchive},
		"cut gzip":   {gzipped[:40], bundle.ErrDamaged},
		"cut zstd":   {small.Bytes()[:40], bundle.ErrDamaged},
		"cut plain":  {plain[:1030], bundle.ErrDamaged},
		"cut bzip2":  {bzipped[:60], bundle.ErrDamaged},
		"odd gzip":   {append([]byte{0x1f, 0x8b}, make([]byte, 100)...), bundle.ErrDamaged},
		"gone bzip2": {append([]byte("BZh9"), make([]byte, 100)...), bundle.ErrDamaged},
	} {
		_, store := open(t)
		aside, err := store.Aside(bundle.Packages)
		require.NoError(t, err)
		_, err = store.Extract(t.Context(), bytes.NewReader(test.archive), aside)
		require.ErrorIs(t, err, test.want, name)
	}
}

func TestLinksReplaceLinksOnly(t *testing.T) {
	base, store := open(t)
	b := bundle.Compiling("go", "1")
	require.NoError(t, store.Link(b))
	require.NoError(t, store.Link(b))
	require.NoError(t, store.Link(bundle.Compiling("go", "2")))
	target, err := os.Readlink(filepath.Join(base, "packages/go"))
	require.NoError(t, err)
	assert.Equal(t, "../"+bundle.Compiling("go", "2").Path(), target)
	require.NoError(t, os.Mkdir(filepath.Join(base, "packages/dir"), 0o755))
	require.ErrorContains(t, store.Link(bundle.Compiling("dir", "1")), "remove it")
	require.NoError(t, store.KeepLinks("packages", nil))
	assert.DirExists(t, filepath.Join(base, "packages/dir"))
	assert.NoFileExists(t, filepath.Join(base, "packages/go"))

	require.NoError(t, store.MkdirAll(filepath.Dir(b.Path()), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(base, b.Path()), nil, 0o644))
	_, err = store.Installed(b)
	require.ErrorContains(t, err, "remove it")
}

// TestWhatWasKilledIsPutRight has what a process leaves that is killed while it installs or compiles.
func TestWhatWasKilledIsPutRight(t *testing.T) {
	base, store := open(t)
	kept := bundle.Compiling("kept", "1")
	require.NoError(t, store.MkdirAll(kept.Path(), 0o755))
	require.NoError(t, store.Link(kept))
	// As the Go agent makes it.
	require.NoError(t, os.Symlink(filepath.Join(base, "data/packages/other/1"), filepath.Join(base, "packages/other")))
	require.NoError(t, store.Snapshot("NOBODY=has this"))

	more := bundle.Compiling("more", "1")
	require.NoError(t, store.MkdirAll(more.Path(), 0o755))
	require.NoError(t, store.Link(more))
	require.NoError(t, store.Link(bundle.Compiling("kept", "2")))
	require.NoError(t, store.Link(bundle.Compiling("other", "2")))
	aside, err := store.Aside(bundle.Jobs)
	require.NoError(t, err)

	unlock, err := store.Lock(t.Context())
	require.NoError(t, err)
	all, err := store.List(bundle.Packages)
	require.NoError(t, err)
	assert.Equal(t, []bundle.Bundle{kept}, all)
	for name, want := range map[string]string{"kept": "../" + kept.Path(), "other": filepath.Join(base, "data/packages/other/1")} {
		target, err := os.Readlink(filepath.Join(base, "packages", name))
		require.NoError(t, err)
		assert.Equal(t, want, target)
	}
	assert.NoFileExists(t, filepath.Join(base, "packages/more"))
	assert.NoDirExists(t, filepath.Join(base, aside))

	_, other := open(t)
	second, err := bundle.Open(base, bundle.Options{})
	require.NoError(t, err)
	defer second.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no time")
	cancel(why)
	_, err = second.Lock(ctx)
	require.ErrorIs(t, err, why, "somebody is at work")
	elsewhere, err := other.Lock(ctx)
	require.NoError(t, err, "not there")
	elsewhere()
	unlock()
	unlock, err = second.Lock(ctx)
	require.NoError(t, err)
	unlock()

	for _, damaged := range []string{"{", "{}"} {
		require.NoError(t, os.WriteFile(filepath.Join(base, "data/.before-compile.json"), []byte(damaged), 0o600))
		_, err = second.Lock(t.Context())
		require.ErrorContains(t, err, "remove it")
	}
}
