package tarball

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
)

// The reasons for which an archive member or a file is refused; they come wrapped in a [*MemberError].
var (
	// ErrPath: the name is absolute, holds "..", is empty, or leads through something that is no directory.
	ErrPath = errors.New("path is not below the target directory")
	// ErrLink: the link leads out of the target directory, or the name leads through a symbolic link.
	ErrLink = errors.New("link leads out of the target directory")
	// ErrType: a device, a FIFO, or another kind of member that has no place here.
	ErrType = errors.New("kind of member is not allowed")
	// ErrSetID: a file with the setuid or setgid bit.
	ErrSetID = errors.New("setuid and setgid files are not allowed")
	// ErrLimit: one of Limits is exceeded.
	ErrLimit = errors.New("limit exceeded")
)

// A MemberError tells which member was refused and why.
type MemberError struct {
	Name   string // of the member; empty when the archive as a whole is refused
	Reason error  // ErrPath, ErrLink, ErrType, ErrSetID or ErrLimit
	Detail string // for people: the link target or the limit
}

func (e *MemberError) Error() string {
	s := "archive refused"
	if e.Name != "" {
		s = fmt.Sprintf("archive member %q refused", shorten(e.Name))
	}
	s += ": " + e.Reason.Error()
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	return s
}

// Unwrap returns the reason, for errors.Is.
func (e *MemberError) Unwrap() error { return e.Reason }

func refuse(name string, reason error, format string, args ...any) error {
	return &MemberError{Name: name, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// shorten keeps a hostile name from filling a log.
func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// Limits bound an archive. Zero takes the default.
type Limits struct {
	// MaxBytes bounds the plain tar stream, headers and padding included, and by itself the content of all files:
	// that is more where files are sparse. Default 4 GiB.
	MaxBytes int64
	// MaxMembers bounds the number of members. Default 500,000.
	MaxMembers int
	// MaxPath bounds each name and link target, in bytes. Default 4096.
	MaxPath int
}

// WithDefaults returns the limits with the defaults in place of zeros.
func (l Limits) WithDefaults() Limits {
	l.MaxBytes = cmp.Or(l.MaxBytes, 4<<30)
	l.MaxMembers = cmp.Or(l.MaxMembers, 500_000)
	l.MaxPath = cmp.Or(l.MaxPath, 4096)
	return l
}

// budget counts members and content against Limits.
type budget struct {
	limits  Limits
	members int
	content int64
}

// member takes a member of the given name, link target and content size into account.
func (b *budget) member(name, link string, size int64) error {
	b.members++
	switch {
	case b.members > b.limits.MaxMembers:
		return refuse(name, ErrLimit, "more than %d members", b.limits.MaxMembers)
	case len(name) > b.limits.MaxPath || len(link) > b.limits.MaxPath:
		return refuse(name, ErrLimit, "path of more than %d bytes", b.limits.MaxPath)
	case size < 0 || size > b.limits.MaxBytes-b.content:
		return refuse(name, ErrLimit, "more than %d bytes", b.limits.MaxBytes)
	}
	b.content += size
	return nil
}

// Bound returns a reader that fails with ErrLimit once more than limits.MaxBytes were read from r, and with the error
// of ctx once that has ended.
func Bound(ctx context.Context, r io.Reader, limits Limits) io.Reader {
	most := limits.WithDefaults().MaxBytes
	return &boundedReader{ctx: ctx, r: r, left: most, max: most}
}

// boundedReader fails once more than left bytes were read or ctx has ended.
type boundedReader struct {
	ctx  context.Context
	r    io.Reader
	left int64
	max  int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	// One byte more than allowed is asked for, to tell a stream that ends at the limit from one that goes on.
	if int64(len(p))-1 > b.left {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.left = 0
		return 0, refuse("", ErrLimit, "stream of more than %d bytes", b.max)
	}
	return n, err
}
