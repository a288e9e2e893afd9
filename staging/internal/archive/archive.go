// Package archive reads archives whose kind nobody has told: zip files, and tar files with and without compression.
package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/internal/ziptar"
)

// The errors of [Write] for what is no archive, or no whole one.
var (
	ErrEmpty   = errors.New("it is empty")
	ErrKind    = errors.New("it is neither a zip file nor a tar file")
	ErrDamaged = errors.New("it is damaged")
)

// others are compressions and archives that people take for what can be read, by their first bytes.
var others = []struct{ start, name string }{
	{"\xfd7zXZ\x00", "compressed by xz"}, {"BZh", "compressed by bzip2"}, {"\x04\x22\x4d\x18", "compressed by lz4"},
	{"LZIP", "compressed by lzip"}, {"7z\xbc\xaf\x27\x1c", "a 7z archive"}, {"Rar!\x1a\x07", "a RAR archive"},
}

// Write writes the members of an archive of size bytes as a plain tar stream to w, whatever kind of archive its first bytes
// tell. Names and links are not judged: whoever extracts the stream does that. An archive that exceeds limits is refused
// with a [*tarball.MemberError], a damaged one with ErrDamaged or another error.
func Write(ctx context.Context, w io.Writer, f io.ReaderAt, size int64, limits tarball.Limits) error {
	start := make([]byte, 512)
	n, err := f.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	content := io.NewSectionReader(f, 0, size)
	switch start = start[:n]; {
	case n == 0:
		return ErrEmpty
	case isZip(start):
		return ziptar.Write(ctx, w, f, size, limits)
	case isCompressed(start):
		plain, err := droplet.NewReader(content, droplet.Limits(limits))
		if err != nil {
			return judged(err)
		}
		defer plain.Close()
		_, err = io.Copy(w, tarball.Bound(ctx, plain, limits))
		return judged(err)
	case n > 262 && string(start[257:262]) == "ustar":
		_, err := io.Copy(w, tarball.Bound(ctx, content, limits))
		return err
	}
	for _, other := range others {
		if bytes.HasPrefix(start, []byte(other.start)) {
			return fmt.Errorf("%w, but %s: give a zip file, or a tar file, plain or compressed by gzip or zstd", ErrKind, other.name)
		}
	}
	return ErrKind
}

// judged says of an archive what package droplet says of a droplet.
func judged(err error) error {
	switch {
	case !errors.Is(err, droplet.ErrDamaged):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it is cut short: %w", ErrDamaged, io.ErrUnexpectedEOF)
	}
	return ErrDamaged
}

// isZip tells by the first bytes of a file. Those of a tar file are a name, which may begin with "PK" as well.
func isZip(start []byte) bool {
	return bytes.HasPrefix(start, []byte("PK\x03\x04")) || bytes.HasPrefix(start, []byte("PK\x05\x06")) // a member, or none
}

// isCompressed tells whether a file is compressed in one of the ways in which droplets are.
func isCompressed(start []byte) bool {
	return bytes.HasPrefix(start, []byte{0x1f, 0x8b}) || bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}) // gzip, zstd
}
