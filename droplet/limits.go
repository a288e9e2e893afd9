package droplet

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"github.com/deakit/deakit/internal/tarball"
)

// Limits bound a droplet that is read or made. Zero takes the default.
type Limits struct {
	// MaxBytes bounds the uncompressed tar stream, and by itself the content of all files. Default 4 GiB.
	MaxBytes int64
	// MaxMembers bounds the number of archive members. Default 500,000.
	MaxMembers int
	// MaxPath bounds each name and link target, in bytes. Default 4096.
	MaxPath int
}

// A MemberError tells which member of a droplet was refused (field Name, empty for the archive as a whole) and why
// (field Reason, one of the Err variables below it, for errors.Is).
type MemberError = tarball.MemberError

// The reasons for which a droplet is refused.
var (
	ErrPath  = tarball.ErrPath  // a name that is absolute or holds ".."
	ErrLink  = tarball.ErrLink  // a link out of the target directory, or a name that leads through a link
	ErrType  = tarball.ErrType  // a device, a FIFO or the like
	ErrSetID = tarball.ErrSetID // a setuid or setgid file
	ErrLimit = tarball.ErrLimit // one of Limits is exceeded
)

// ErrDamaged: the droplet is cut short, altered, or followed by something else. The cause is wrapped, too.
var ErrDamaged = errors.New("droplet is damaged")

// damaged marks an error of a decoder as ErrDamaged.
func damaged(err error) error { return fmt.Errorf("%w: %w", ErrDamaged, err) }

// judged marks the errors of a tar stream as ErrDamaged and leaves all others as they are.
func judged(err error) error {
	switch {
	case errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), errors.Is(err, io.ErrUnexpectedEOF):
		return damaged(err)
	}
	return err
}
