package droplet

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/flate"
)

// A Format is how a droplet is compressed. Readers go by the first bytes of a droplet, never by its name: a [Store]
// keeps droplets of either format as droplet.tgz.
type Format int

const (
	// Gzip is what every DEA and stager reads.
	Gzip Format = iota
	// Zstd is several times as fast both ways, at a smaller size. Originals do not read it.
	Zstd
)

// ErrFormat: what was to be read is neither gzip nor zstd.
var ErrFormat = errors.New("no droplet: it is compressed neither by gzip nor by zstd")

func (f Format) String() string {
	switch f {
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("Format(%d)", int(f))
}

// Ext is the usual ending of a file name, ".tgz" or ".tar.zst".
func (f Format) Ext() string {
	if f == Zstd {
		return ".tar.zst"
	}
	return ".tgz"
}

// Sniff tells the format of a file by its first bytes, of which four are enough. False means that it is neither.
func Sniff(start []byte) (Format, bool) {
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}): // RFC 1952
		return Gzip, true
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878
		return Zstd, true
	case len(start) >= 4 && start[0]>>4 == 5 && bytes.Equal(start[1:4], []byte{0x2a, 0x4d, 0x18}):
		return Zstd, true // a frame to be skipped, with which pzstd begins
	}
	return 0, false
}

// codec returns a new codec. Level 0 stands for the format's default.
func (f Format) codec(level int) (codec, error) {
	switch {
	case f == Gzip && level == 0:
		return &gzipCodec{level: flate.DefaultCompression}, nil
	case f == Gzip && level > 0 && level <= 9:
		return &gzipCodec{level: level}, nil
	case f == Zstd && level == 0:
		return zstdCodec{level: 3}, nil // that of the program zstd
	case f == Zstd && level > 0 && level <= 22:
		return zstdCodec{level: level}, nil
	}
	return nil, fmt.Errorf("there is no level %d of %s: gzip has 1 to 9, zstd 1 to 22", level, f)
}
