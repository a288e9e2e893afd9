package ziptar_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/internal/ziptar"
)

type member struct {
	name, content string
	mode          fs.FileMode
}

func zipped(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, m := range members {
		header := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		if m.mode != 0 {
			header.SetMode(m.mode)
		}
		w, err := z.CreateHeader(header)
		require.NoError(t, err)
		_, err = io.WriteString(w, m.content)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return out.Bytes()
}

func convert(archive []byte, limits tarball.Limits) ([]byte, error) {
	var out bytes.Buffer
	err := ziptar.Write(context.Background(), &out, bytes.NewReader(archive), int64(len(archive)), limits)
	return out.Bytes(), err
}

func TestWriteKeepsModesLinksAndHiddenFiles(t *testing.T) {
	stream, err := convert(zipped(t,
		member{"bin/", "", fs.ModeDir | 0o750},
		member{"bin/run", "#!/bin/sh\n", 0o755},
		member{".hidden", "h", 0o640},
		member{"link", "bin/run", fs.ModeSymlink | 0o777},
		member{"from-windows", "w", 0},
		member{"dir-from-windows/", "", 0},
	), tarball.Limits{})
	require.NoError(t, err)
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	require.NoError(t, tarball.Extract(t.Context(), root, ".", bytes.NewReader(stream), tarball.ExtractOptions{}))

	for name, mode := range map[string]fs.FileMode{
		"bin": 0o750, "bin/run": 0o755, ".hidden": 0o640, "from-windows": 0o744, "dir-from-windows": 0o755,
	} {
		info, err := os.Lstat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), name)
	}
	target, err := os.Readlink(filepath.Join(dir, "link"))
	require.NoError(t, err)
	assert.Equal(t, "bin/run", target)
}

func TestWriteLeavesNamesToTheExtractor(t *testing.T) {
	for _, name := range []string{"../evil", "/etc/evil", "a/../../evil"} {
		stream, err := convert(zipped(t, member{name, "x", 0o644}), tarball.Limits{})
		require.NoError(t, err)
		root, err := os.OpenRoot(t.TempDir())
		require.NoError(t, err)
		defer root.Close()
		err = tarball.Extract(t.Context(), root, "target", bytes.NewReader(stream), tarball.ExtractOptions{})
		assert.ErrorIs(t, err, tarball.ErrPath, name)
	}
}

func TestWriteRefuses(t *testing.T) {
	bomb := zipped(t, member{"bomb", strings.Repeat("\x00", 1<<20), 0o644})
	liar := bytes.Clone(bomb)
	size := []byte{0, 0, 0x10, 0} // 1 MiB, as the directory and the data descriptor say it
	for i := bytes.Index(liar, size); i >= 0; i = bytes.Index(liar, size) {
		liar[i+2] = 1
	}
	var many []member
	for i := range 11 {
		many = append(many, member{fmt.Sprint(i), "", 0o644})
	}
	for _, test := range []struct {
		name    string
		archive []byte
		limits  tarball.Limits
		want    error
	}{
		{"too many bytes", bomb, tarball.Limits{MaxBytes: 1<<20 - 1}, tarball.ErrLimit},
		{"too many bytes together", zipped(t, member{"a", "12345", 0o644}, member{"b", "12345", 0o644}), tarball.Limits{MaxBytes: 9}, tarball.ErrLimit},
		{"more than it says", liar, tarball.Limits{}, zip.ErrFormat},
		{"too many members", zipped(t, many...), tarball.Limits{MaxMembers: 10}, tarball.ErrLimit},
		{"long name", zipped(t, member{strings.Repeat("a", 101), "", 0o644}), tarball.Limits{MaxPath: 100}, tarball.ErrLimit},
		{"long link", zipped(t, member{"l", strings.Repeat("a", 101), fs.ModeSymlink}), tarball.Limits{MaxPath: 100}, tarball.ErrLimit},
		{"device", zipped(t, member{"d", "", fs.ModeDevice | 0o644}), tarball.Limits{}, tarball.ErrType},
		{"FIFO", zipped(t, member{"d", "", fs.ModeNamedPipe | 0o644}), tarball.Limits{}, tarball.ErrType},
		{"setuid", zipped(t, member{"d", "", fs.ModeSetuid | 0o755}), tarball.Limits{}, tarball.ErrSetID},
		{"no zip file", []byte("<html>"), tarball.Limits{}, zip.ErrFormat},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := convert(test.archive, test.limits)
			assert.ErrorIs(t, err, test.want)
		})
	}
}

// TestForgedDirectoryCostsNothing: archive/zip makes room for as many members as the end of a file claims.
func TestForgedDirectoryCostsNothing(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "zip"))
	require.NoError(t, err)
	defer file.Close()
	const size = 2 << 30 // sparse
	const claim = 60_000_000
	var end []byte
	end = append(end, "PK\x06\x06"...)
	end = binary.LittleEndian.AppendUint64(end, 44)
	end = append(end, make([]byte, 12)...)
	end = binary.LittleEndian.AppendUint64(end, claim)
	end = binary.LittleEndian.AppendUint64(end, claim)
	end = append(end, make([]byte, 16)...)
	end = append(end, "PK\x06\x07\x00\x00\x00\x00"...)
	end = binary.LittleEndian.AppendUint64(end, size)
	end = append(end, "\x01\x00\x00\x00PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
	_, err = file.WriteAt(end, size)
	require.NoError(t, err)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = ziptar.Write(t.Context(), io.Discard, file, size+int64(len(end)), tarball.Limits{})
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, tarball.ErrLimit)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))

	// The same claim leads to nothing where the directory is cut off from it.
	_, err = file.WriteAt(make([]byte, 4), size)
	require.NoError(t, err)
	require.ErrorIs(t, ziptar.Write(t.Context(), io.Discard, file, size+int64(len(end)), tarball.Limits{}), zip.ErrFormat)
}

func TestWriteEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	archive := zipped(t, member{"a", "a", 0o644})
	err := ziptar.Write(ctx, io.Discard, bytes.NewReader(archive), int64(len(archive)), tarball.Limits{})
	assert.ErrorIs(t, err, context.Canceled)
}

// FuzzWrite: whatever comes in, what comes out is a readable tar stream within limits, or an error.
func FuzzWrite(f *testing.F) {
	f.Add(zipped(f, member{"a/", "", fs.ModeDir | 0o755}, member{"a/b", "text", 0o644}, member{"l", "a", fs.ModeSymlink}))
	f.Fuzz(func(t *testing.T, archive []byte) {
		stream, err := convert(archive, tarball.Limits{MaxBytes: 1 << 20, MaxMembers: 100})
		if err != nil {
			return
		}
		members := tar.NewReader(bytes.NewReader(stream))
		var total int64
		for n := 0; ; n++ {
			header, err := members.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			require.LessOrEqual(t, n, 100)
			total += header.Size
		}
		require.LessOrEqual(t, total, int64(1<<20))
	})
}
