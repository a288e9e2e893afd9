// Package archive reads archives whose kind nobody has told: zip files, and tar files with and without compression.
package archive

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/internal/ziptar"
)

// The errors of [Write] for what is no archive.
var (
	ErrEmpty = errors.New("it is empty")
	ErrKind  = errors.New("it is neither a zip file nor a tar file")
)

// Write writes the members of an archive of size bytes as a plain tar stream to w, whatever kind of archive its first bytes
// tell. Names and links are not judged: whoever extracts the stream does that. An archive that exceeds limits is refused
// with a [*tarball.MemberError], a damaged one with another error.
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
			return err
		}
		defer plain.Close()
		_, err = io.Copy(w, tarball.Bound(ctx, plain, limits))
		return err
	case n > 262 && string(start[257:262]) == "ustar":
		_, err := io.Copy(w, tarball.Bound(ctx, content, limits))
		return err
	}
	return ErrKind
}

// isZip tells by the first bytes of a file. Those of a tar file are a name, which may begin with "PK" as well.
func isZip(start []byte) bool {
	return bytes.HasPrefix(start, []byte("PK\x03\x04")) || bytes.HasPrefix(start, []byte("PK\x05\x06")) // a member, or none
}

// isCompressed tells whether a file is compressed in one of the ways in which droplets are.
func isCompressed(start []byte) bool {
	return bytes.HasPrefix(start, []byte{0x1f, 0x8b}) || bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}) // gzip, zstd
}
