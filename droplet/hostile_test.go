package droplet_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/rmtree"
)

// heap is what objects take, those included that nobody has collected yet.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// A gauge remembers the largest heap that it saw while data went through.
type gauge struct {
	w     io.Writer
	peak  uint64
	moved int64
	next  int64
}

func (g *gauge) Write(p []byte) (int, error) {
	if g.moved += int64(len(p)); g.moved >= g.next {
		g.peak, g.next = max(g.peak, heap()), g.moved+1<<20
	}
	return g.w.Write(p)
}

// TestMemoryDoesNotGrowWithTheDroplet packs, verifies, repacks and inspects a droplet of 256 MiB that does not compress.
// BenchmarkMemory has one of 1 GiB.
func TestMemoryDoesNotGrowWithTheDroplet(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // each processor has blocks of its own
	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		t.Run(format.String(), func(t *testing.T) {
			before := heap()
			peak := roundTrip(t, format, 256<<20, t.TempDir())
			assert.Less(t, int64(peak)-int64(before), int64(160<<20))
		})
	}
}

// roundTrip makes a droplet with one file of a size, reads and writes it in all ways, and returns the peak of the heap.
func roundTrip(t testing.TB, format droplet.Format, size int64, dir string) uint64 {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "droplet"))
	require.NoError(t, err)
	defer file.Close()
	g := &gauge{w: file}
	packed, err := droplet.Compress(t.Context(), g, large(size), droplet.PackOptions{Format: format, Level: 1})
	require.NoError(t, err)

	read := func() io.Reader {
		_, err := file.Seek(0, io.SeekStart)
		require.NoError(t, err)
		return io.TeeReader(file, &gaugeOnly{g})
	}
	verified, err := droplet.Verify(t.Context(), read(), droplet.VerifyOptions{SHA1: packed.SHA1})
	require.NoError(t, err)
	require.Equal(t, size, verified.Bytes)
	plain, err := droplet.NewReader(read(), droplet.Limits{})
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, plain)
	require.NoError(t, err)
	require.NoError(t, plain.Close())
	_, err = file.Seek(0, io.SeekStart)
	require.NoError(t, err)
	g.w = io.Discard
	_, err = droplet.Repack(t.Context(), g, file, droplet.PackOptions{Format: format, Level: 1})
	require.NoError(t, err)
	return g.peak
}

// gaugeOnly measures and writes nothing.
type gaugeOnly struct{ g *gauge }

func (g *gaugeOnly) Write(p []byte) (int, error) {
	w := g.g.w
	g.g.w = io.Discard
	defer func() { g.g.w = w }()
	return g.g.Write(p)
}

// large is a tar stream with one file of noise, which is the same piece over and over, further apart than gzip looks back.
func large(size int64) io.Reader {
	var head bytes.Buffer
	members := tar.NewWriter(&head)
	_ = members.WriteHeader(&tar.Header{Name: "./staging_info.yml", Mode: 0o644})
	_ = members.WriteHeader(&tar.Header{Name: "./app/large", Mode: 0o644, Size: size})
	content := io.LimitReader(&repeated{data: noise(1 << 20)}, size)
	return io.MultiReader(&head, content, io.LimitReader(zeros{}, 1024+(512-size%512)%512))
}

type repeated struct {
	data []byte
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.at:])
	r.at = (r.at + n) % len(r.data)
	return n, nil
}

// TestManyGzipMembers: they are one stream (RFC 1952), but a million empty ones neither fill the stack nor the memory.
func TestManyGzipMembers(t *testing.T) {
	data := pack(t, staged(t), droplet.PackOptions{})
	var empty bytes.Buffer
	require.NoError(t, gzip.NewWriter(&empty).Close())
	plain := tarStream(t, data)
	var split bytes.Buffer
	for half := range bytes.SplitAfterSeq(plain, []byte("app/")) {
		z := gzip.NewWriter(&split)
		_, err := z.Write(half)
		require.NoError(t, err)
		require.NoError(t, z.Close())
	}
	summary, err := droplet.Verify(t.Context(), &split, droplet.VerifyOptions{AbsoluteLinks: true})
	require.NoError(t, err)
	assert.Equal(t, 10, summary.Members)

	many := io.MultiReader(&repeatedTimes{repeated{data: empty.Bytes()}, 1_000_000 * int64(empty.Len())}, bytes.NewReader(data))
	before := heap()
	_, err = droplet.Verify(t.Context(), many, droplet.VerifyOptions{AbsoluteLinks: true})
	require.NoError(t, err)
	assert.Less(t, int64(heap())-int64(before), int64(50<<20))
}

type repeatedTimes struct {
	repeated
	left int64
}

func (r *repeatedTimes) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.repeated.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}

func tarStream(t testing.TB, data []byte) []byte {
	t.Helper()
	plain, err := droplet.NewReader(bytes.NewReader(data), droplet.Limits{})
	require.NoError(t, err)
	defer plain.Close()
	out, err := io.ReadAll(plain)
	require.NoError(t, err)
	return out
}

// TestSparseFilesCount as large as they claim to be, whatever little of them is in the archive.
func TestSparseFilesCount(t *testing.T) {
	needs.Tool(t, "tar", "tar")
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(1<<30))
	_, err = f.WriteAt([]byte("x"), 1<<29)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for _, format := range []string{"gnu", "pax"} {
		data, err := exec.Command("tar", "-C", dir, "--sparse", "--format="+format, "-czf", "-", "sparse").Output()
		require.NoError(t, err)
		require.Less(t, len(data), 100_000)
		limits := droplet.Limits{MaxBytes: 1<<30 - 1}
		_, err = droplet.Verify(t.Context(), bytes.NewReader(data), droplet.VerifyOptions{Limits: limits})
		require.ErrorIs(t, err, droplet.ErrLimit)
		err = droplet.Unpack(t.Context(), bytes.NewReader(data), openRoot(t, t.TempDir()), ".", droplet.UnpackOptions{Limits: limits})
		require.ErrorIs(t, err, droplet.ErrLimit)
	}
}

// TestZstdFramesThatAskForMemory: a frame of a few bytes claims a window of a GiB.
func TestZstdFramesThatAskForMemory(t *testing.T) {
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00}
	before := heap()
	_, err := droplet.Verify(t.Context(), bytes.NewReader(frame), droplet.VerifyOptions{})
	require.ErrorIs(t, err, droplet.ErrLimit)
	assert.Less(t, int64(heap())-int64(before), int64(50<<20))

	// What is to be skipped is, however long it says to be, and is not kept.
	skip := binary.LittleEndian.AppendUint32([]byte{0x50, 0x2a, 0x4d, 0x18}, 1<<31)
	_, err = droplet.Verify(t.Context(), bytes.NewReader(skip), droplet.VerifyOptions{})
	require.ErrorIs(t, err, droplet.ErrDamaged)
	skip = binary.LittleEndian.AppendUint32([]byte{0x5f, 0x2a, 0x4d, 0x18}, 4)
	data := pack(t, staged(t), droplet.PackOptions{Format: droplet.Zstd})
	_, err = droplet.Verify(t.Context(), io.MultiReader(bytes.NewReader(skip), strings.NewReader("skip"), bytes.NewReader(data)),
		droplet.VerifyOptions{AbsoluteLinks: true})
	require.NoError(t, err)
}

// FuzzDroplet reads arbitrary bytes in all ways: what is verified can be unpacked and repacked.
func FuzzDroplet(f *testing.F) {
	f.Add(pack(f, staged(f), droplet.PackOptions{}))
	f.Add(pack(f, staged(f), droplet.PackOptions{Format: droplet.Zstd}))
	f.Add(gzipped(f, &tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: ".."}, &tar.Header{Name: "a/b"}))
	f.Fuzz(func(t *testing.T, data []byte) { checkAgreement(t, data) })
}

// FuzzMembers makes droplets of lines "<type> <octal mode> <name> <target>". What is verified can be unpacked, and what
// is refused for its links cannot.
func FuzzMembers(f *testing.F) {
	f.Add("5 755 d -\n2 777 d/l ..\n0 644 d/l/x -\n1 644 h d/l/x")
	f.Add("0 644 staging_info.yml -\n1 644 h staging_info.yml\n0 644 ./staging_info.yml -")
	f.Add("0 644 a -\n5 755 a -\n0 644 a/b -\n2 777 l a\n1 777 m l")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, script string) {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, _ = z.Write(scripted(script))
		_ = z.Close()
		checkAgreement(t, out.Bytes())
		_, verified := droplet.Verify(t.Context(), bytes.NewReader(out.Bytes()), droplet.VerifyOptions{})
		if errors.Is(verified, droplet.ErrNotDroplet) {
			verified = nil // it could be unpacked all the same
		}
		if verified != nil && !errors.Is(verified, droplet.ErrLink) {
			return
		}
		to, err := os.MkdirTemp(dir, "")
		require.NoError(t, err)
		unpacked := droplet.Unpack(t.Context(), &out, openRoot(t, to), ".", droplet.UnpackOptions{})
		require.Equal(t, verified == nil, unpacked == nil, "verify: %v, unpack: %v", verified, unpacked)
		require.NoError(t, rmtree.Path(to))
	})
}

func checkAgreement(t *testing.T, data []byte) {
	limits := droplet.Limits{MaxBytes: 1 << 20, MaxMembers: 100}
	_, verified := droplet.Verify(t.Context(), bytes.NewReader(data), droplet.VerifyOptions{Limits: limits, AbsoluteLinks: true})
	var out bytes.Buffer
	_, repacked := droplet.Repack(t.Context(), &out, bytes.NewReader(data), droplet.PackOptions{Limits: limits})
	none := errors.Is(verified, droplet.ErrNotDroplet)
	if verified != nil && !none {
		return
	}
	require.NoError(t, repacked)
	again := bytes.Clone(out.Bytes())
	out.Reset()
	_, err := droplet.Repack(t.Context(), &out, bytes.NewReader(again), droplet.PackOptions{})
	require.NoError(t, err)
	require.True(t, bytes.Equal(again, out.Bytes()), "repacking changes what was repacked")
	_, err = droplet.Inspect(t.Context(), bytes.NewReader(data), limits)
	require.Equal(t, none, errors.Is(err, droplet.ErrNotDroplet), err)
	require.Equal(t, none, err != nil, err)
}

func scripted(script string) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for line := range strings.Lines(script) {
		var hdr tar.Header
		if n, _ := fmt.Sscanf(line, "%c %o %s %s", &hdr.Typeflag, &hdr.Mode, &hdr.Name, &hdr.Linkname); n == 4 {
			_ = w.WriteHeader(&hdr)
		}
	}
	_ = w.Close()
	return out.Bytes()
}
