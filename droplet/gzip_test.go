package droplet

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample is text that compresses by about half, with repeats near and far.
func sample(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 0, size+40)
	for len(data) < size {
		if len(data) > 100 && random.IntN(2) == 0 {
			from := random.IntN(len(data) - 50)
			data = append(data, data[from:from+40]...)
			continue
		}
		for range 20 {
			data = append(data, byte(random.IntN(64)+32))
		}
	}
	return data[:size]
}

func compress(t testing.TB, data []byte, chunk int) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := newGzipWriter(&out, flate.DefaultCompression)
	require.NoError(t, err)
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

func TestGzipIsReadByTheStandardLibrary(t *testing.T) {
	for _, size := range []int{0, 1, windowBytes, blockBytes - 1, blockBytes, blockBytes + 1, 5*blockBytes + 12345} {
		data := sample(size)
		packed := compress(t, data, 100_000)
		r, err := gzip.NewReader(bytes.NewReader(packed))
		require.NoError(t, err)
		r.Multistream(false)
		assert.True(t, r.ModTime.IsZero())
		got, err := io.ReadAll(r)
		require.NoError(t, err, size)
		assert.True(t, bytes.Equal(data, got), "%d bytes", size)
	}
}

func TestGzipGivesTheSameBytes(t *testing.T) {
	data := sample(7*blockBytes + 99)
	first := compress(t, data, len(data))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	assert.True(t, bytes.Equal(first, compress(t, data, 1<<20)), "depends on the number of processors or the size of writes")
	assert.True(t, bytes.Equal(first, compress(t, data, 777)))
}

func TestGzipReportsWriteErrors(t *testing.T) {
	for _, room := range []int{0, len(gzipHeader), 300_000} {
		z, err := newGzipWriter(&fullDisk{room}, flate.BestSpeed)
		require.NoError(t, err)
		_, _ = z.Write(sample(8 * blockBytes))
		assert.ErrorIs(t, z.Close(), errFull)
	}
	data := sample(1000)
	z, err := newGzipWriter(&fullDisk{len(compress(t, data, 1000)) - 1}, flate.DefaultCompression)
	require.NoError(t, err)
	_, err = z.Write(data)
	require.NoError(t, err)
	assert.ErrorIs(t, z.Close(), errFull, "the trailer is lost")
}

var errFull = errors.New("disk full")

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}
