package ziptar

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/deakit/deakit/internal/tarball"
)

// The records at the end of a zip file (APPNOTE.TXT, 4.3.14 to 4.3.16), lengths without what is variable.
const (
	endLength     = 22
	locatorLength = 20
	end64Length   = 56
)

// checkDirectory refuses a zip file that claims more than most members. archive/zip believes that claim, as far as
// the length of the file allows, and makes room for as many before it reads the first: a sparse file of some GiB that
// holds nothing else would cost hundreds of MiB. What is no zip file, archive/zip may refuse.
func checkDirectory(r io.ReaderAt, size int64, most int) error {
	for _, length := range []int64{1 << 10, 65 << 10} { // as far back as archive/zip looks
		tail := make([]byte, min(size, length))
		if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
			return err
		}
		for at := len(tail) - endLength; at >= 0; at-- {
			if !bytes.HasPrefix(tail[at:], []byte("PK\x05\x06")) {
				continue
			}
			if claimed(r, tail[at:], size-int64(len(tail)-at)) > uint64(most) {
				return &tarball.MemberError{Reason: tarball.ErrLimit, Detail: fmt.Sprintf("more than %d members", most)}
			}
			return nil
		}
	}
	return nil
}

// claimed returns how many members the end record at an offset of the file speaks of, or the one for large archives (zip64)
// that a locator in front of it leads to.
func claimed(r io.ReaderAt, end []byte, offset int64) uint64 {
	members := uint64(binary.LittleEndian.Uint16(end[10:]))
	locator := make([]byte, locatorLength)
	if offset < locatorLength {
		return members
	}
	if _, err := r.ReadAt(locator, offset-locatorLength); err != nil || !bytes.HasPrefix(locator, []byte("PK\x06\x07")) {
		return members
	}
	at := int64(binary.LittleEndian.Uint64(locator[8:]))
	end64 := make([]byte, end64Length)
	if at < 0 || at >= offset {
		return members
	}
	if _, err := r.ReadAt(end64, at); err != nil || !bytes.HasPrefix(end64, []byte("PK\x06\x06")) {
		return members
	}
	return max(members, binary.LittleEndian.Uint64(end64[32:]))
}
