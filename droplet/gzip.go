package droplet

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

const (
	gzipBlock = 512 << 10
	// gzipWindow is how far back deflate refers (RFC 1951).
	gzipWindow = 32 << 10
)

// gzipHeader is that of a stream without name and time, made by an unknown system (RFC 1952).
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// gzipCodec makes one gzip member of one deflate stream, in which each block has the end of the one before as its
// dictionary.
type gzipCodec struct {
	level    int // of flate
	checksum uint32
	size     uint32 // modulo 2^32
}

func (*gzipCodec) sizes() (block, window int) { return gzipBlock, gzipWindow }
func (*gzipCodec) header() []byte             { return gzipHeader }

func (c *gzipCodec) input(p []byte) {
	c.checksum = crc32.Update(c.checksum, crc32.IEEETable, p)
	c.size += uint32(len(p))
}

func (c *gzipCodec) trailer() []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, c.checksum), c.size)
}

func (c *gzipCodec) worker() (compressor, error) {
	w, err := flate.NewWriter(io.Discard, c.level)
	return &deflater{w}, err
}

type deflater struct{ w *flate.Writer }

func (d *deflater) compress(out *bytes.Buffer, dict, data []byte, last bool) {
	d.w.ResetDict(out, dict)
	_, _ = d.w.Write(data) // a bytes.Buffer takes all
	if last {
		_ = d.w.Close()
	} else {
		_ = d.w.Flush()
	}
}
