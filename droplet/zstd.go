package droplet

import (
	"bytes"

	"github.com/klauspost/compress/zstd"
)

// zstdBlock is the content of one frame. Smaller frames cost size, larger ones memory: two of them for each processor.
const zstdBlock = 4 << 20

// zstdCodec makes a stream of independent zstd frames with check sums (RFC 8878), as pzstd does. The level is one of the
// program zstd.
type zstdCodec struct{ level int }

func (zstdCodec) sizes() (block, window int) { return zstdBlock, 0 }
func (zstdCodec) header() []byte             { return nil }
func (zstdCodec) input([]byte)               {}
func (zstdCodec) trailer() []byte            { return nil }

func (c zstdCodec) worker() (compressor, error) {
	w, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(c.level)),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(zstdBlock),
		zstd.WithZeroFrames(true)) // a stream of nothing has a frame, too
	return framer{w}, err
}

type framer struct{ w *zstd.Encoder }

func (f framer) compress(out *bytes.Buffer, _, data []byte, _ bool) {
	out.Write(f.w.EncodeAll(data, out.AvailableBuffer()))
}
