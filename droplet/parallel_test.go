package droplet

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample compresses by some half, with repeats near and far.
func sample(size int) []byte {
	fresh := noise(64 << 10)
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 0, size+4096)
	for len(data) < size {
		from := random.IntN(len(fresh) - 4096)
		data = append(data, fresh[from:from+random.IntN(4096)]...)
		fresh[from]++
	}
	return data[:size]
}

// noise does not compress.
func noise(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

func writer(t testing.TB, w io.Writer, format Format, level int) *parallelWriter {
	t.Helper()
	c, err := format.codec(level)
	require.NoError(t, err)
	z, err := newParallelWriter(w, c)
	require.NoError(t, err)
	return z
}

func compress(t testing.TB, format Format, data []byte, chunk int) []byte {
	t.Helper()
	var out bytes.Buffer
	z := writer(t, &out, format, 0)
	for len(data) > 0 {
		n := min(chunk, len(data))
		written, err := z.Write(data[:n])
		require.NoError(t, err)
		require.Equal(t, n, written)
		data = data[n:]
	}
	require.NoError(t, z.Close())
	require.NoError(t, z.Close())
	return out.Bytes()
}

// Both libraries read a single stream: gzip is told not to look for a second member.
func decompress(t testing.TB, format Format, data []byte) []byte {
	t.Helper()
	var plain io.Reader
	switch format {
	case Gzip:
		r, err := gzip.NewReader(bytes.NewReader(data))
		require.NoError(t, err)
		r.Multistream(false)
		assert.True(t, r.ModTime.IsZero())
		plain = r
	case Zstd:
		r, err := zstd.NewReader(bytes.NewReader(data))
		require.NoError(t, err)
		defer r.Close()
		plain = r
	}
	got, err := io.ReadAll(plain)
	require.NoError(t, err)
	return got
}

func TestCompressedStreamsAreReadByOthers(t *testing.T) {
	for format, block := range map[Format]int{Gzip: gzipBlock, Zstd: zstdBlock} {
		for _, size := range []int{0, 1, gzipWindow, block - 1, block, block + 1, 2*block + 12345} {
			data := sample(size)
			packed := compress(t, format, data, 100_000)
			assert.NotEmpty(t, packed)
			assert.True(t, bytes.Equal(data, decompress(t, format, packed)), "%s of %d bytes", format, size)
		}
	}
}

func TestCompressionGivesTheSameBytes(t *testing.T) {
	for format, block := range map[Format]int{Gzip: gzipBlock, Zstd: zstdBlock} {
		t.Run(format.String(), func(t *testing.T) {
			data := sample(3*block + 99)
			first := compress(t, format, data, len(data))
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			assert.True(t, bytes.Equal(first, compress(t, format, data, 1<<20)), "depends on the number of processors or the size of writes")
			assert.True(t, bytes.Equal(first, compress(t, format, data, 777)))
		})
	}
}

func TestLevels(t *testing.T) {
	data := sample(100_000)
	for format, levels := range map[Format][]int{Gzip: {1, 5, 9}, Zstd: {1, 3, 9, 22}} {
		for _, level := range levels {
			var out bytes.Buffer
			z := writer(t, &out, format, level)
			_, err := z.Write(data)
			require.NoError(t, err)
			require.NoError(t, z.Close())
			assert.True(t, bytes.Equal(data, decompress(t, format, out.Bytes())), "%s level %d", format, level)
		}
		for _, level := range []int{-1, 23} {
			_, err := format.codec(level)
			assert.ErrorContains(t, err, fmt.Sprintf("no level %d of %s", level, format))
		}
	}
	_, err := Format(7).codec(0)
	assert.ErrorContains(t, err, "Format(7)")
}

func TestWriteErrorsAreReported(t *testing.T) {
	for format, block := range map[Format]int{Gzip: gzipBlock, Zstd: zstdBlock} {
		for _, room := range []int{0, len(gzipHeader), 300_000} {
			z := writer(t, &fullDisk{room}, format, 1)
			_, _ = z.Write(noise(3 * block))
			assert.ErrorIs(t, z.Close(), errFull)
		}
		data := sample(1000)
		z := writer(t, &fullDisk{len(compress(t, format, data, 1000)) - 1}, format, 0)
		_, err := z.Write(data)
		require.NoError(t, err)
		assert.ErrorIs(t, z.Close(), errFull, "the end is lost")
	}
}

var errFull = errors.New("disk full")

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}
