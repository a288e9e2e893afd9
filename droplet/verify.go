package droplet

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/deakit/deakit/internal/tarball"
)

// ErrAmbiguous: the droplet has more than one staging_info.yml, so that readers may take different ones.
var ErrAmbiguous = errors.New("droplet has more than one " + InfoName)

// VerifyOptions are the options of [Verify]. The zero value refuses what a zero UnpackOptions does.
type VerifyOptions struct {
	Limits Limits

	// AbsoluteLinks allows symbolic links with absolute targets, as UnpackOptions does.
	AbsoluteLinks bool

	// SHA1 is the digest that the droplet must have, 40 hexadecimal digits. Empty means that any will do.
	SHA1 string
}

// Verify reads the droplet r to its end and fails where a DEA would, or should: with ErrFormat, ErrDamaged,
// ErrDigestMismatch, ErrAmbiguous, ErrNotDroplet, what [ParseInfo] says of staging_info.yml, or a [*MemberError] for the first member
// that [Unpack] would refuse in an empty directory. Nothing is written, and memory depends on the number of members alone.
// ctx is looked at between chunks.
func Verify(ctx context.Context, r io.Reader, opts VerifyOptions) (Summary, error) {
	h := newHasher(io.Discard)
	r = io.TeeReader(contextReader{ctx, r}, h)
	summary, err := examine(ctx, r, opts)
	if err != nil {
		return Summary{}, fmt.Errorf("verify droplet: %w", err)
	}
	summary.Digest = h.digest()
	if want := strings.ToLower(opts.SHA1); want != "" && want != summary.Digest.SHA1 {
		return Summary{}, fmt.Errorf("verify droplet: %w: it is %s, %d bytes", ErrDigestMismatch, summary.Digest.SHA1, summary.Digest.Size)
	}
	return summary, nil
}

func examine(ctx context.Context, r io.Reader, opts VerifyOptions) (Summary, error) {
	plain, format, err := open(ctx, r, opts.Limits)
	if err != nil {
		return Summary{}, err
	}
	defer plain.Close() // after which nobody reads r
	summary := Summary{Format: format}
	startup := false
	check := tarball.CheckOptions{Limits: tarball.Limits(opts.Limits), AbsoluteLinks: opts.AbsoluteLinks}
	err = tarball.Check(ctx, plain, check, func(hdr *tar.Header, content io.Reader) error {
		summary.Members++
		if hdr.Typeflag == tar.TypeReg {
			summary.Bytes += hdr.Size
		}
		if !isInfo(hdr) {
			startup = startup || isStartup(hdr)
			return nil
		}
		if summary.Info != nil {
			return ErrAmbiguous
		}
		data, err := readInfo(content)
		if err != nil {
			return err
		}
		info, err := ParseInfo(data)
		summary.Info = &info
		return err
	})
	switch {
	case err != nil:
	case summary.Members == 0:
		err = damaged(errors.New("it has no members"))
	case summary.Info == nil && !startup:
		err = ErrNotDroplet
	}
	return summary, judged(err)
}
