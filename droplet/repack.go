package droplet

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/deakit/deakit/internal/tarball"
)

// Repack writes the droplet r, of either format and by whomever made, to w as [Pack] would write its members, and returns
// the digest of the new one: staging_info.yml comes first, owners and extensions are left out, modes are reduced to the
// permission bits, and opts give format, level and times. The other members keep their order, because they pass through
// one by one, in memory that depends on their number alone. A droplet made by Pack gives the same members again.
//
// r is read twice, from where it stands. What [Verify] refuses is refused, but for symbolic links with absolute targets.
// After an error, w has received a part. ctx is looked at between chunks.
func Repack(ctx context.Context, w io.Writer, r io.ReadSeeker, opts PackOptions) (Digest, error) {
	start, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return Digest{}, fmt.Errorf("repack droplet: %w", err)
	}
	found, err := findInfo(ctx, r, opts.Limits)
	if err != nil {
		return Digest{}, err
	}
	info := found.info
	if info != nil {
		if _, err := ParseInfo(info.data); err != nil {
			return Digest{}, err
		}
	}
	if _, err := r.Seek(start, io.SeekStart); err != nil {
		return Digest{}, fmt.Errorf("repack droplet: %w", err)
	}
	plain, err := NewReader(contextReader{ctx, r}, opts.Limits)
	if err != nil {
		return Digest{}, err
	}
	defer plain.Close()
	return pack(w, opts, func(z io.Writer) error {
		p := repacker{out: tar.NewWriter(z), opts: opts, info: info, buf: make([]byte, chunkBytes)}
		return judged(p.run(ctx, plain))
	})
}

// A repacker copies the members of one droplet.
type repacker struct {
	out  *tar.Writer
	opts PackOptions
	info *infoMember // nil if there is none, or once it was written
	seen bool        // whether staging_info.yml was met where it stood
	buf  []byte
}

func (p *repacker) run(ctx context.Context, r io.Reader) error {
	opts := tarball.CheckOptions{Limits: tarball.Limits(p.opts.Limits), AbsoluteLinks: true}
	if err := tarball.Check(ctx, r, opts, p.member); err != nil {
		return err
	}
	return p.out.Close()
}

func (p *repacker) member(hdr *tar.Header, content io.Reader) error {
	if hdr.Name != "." {
		if err := p.first(); err != nil {
			return err
		}
	}
	if !isInfo(hdr) {
		return p.write(hdr, content)
	}
	if p.seen {
		return ErrAmbiguous
	}
	p.seen = true
	return nil
}

// first writes staging_info.yml once, behind "./" and before all else.
func (p *repacker) first() error {
	if p.info == nil {
		return nil
	}
	info := p.info
	p.info = nil
	return p.write(info.header, bytes.NewReader(info.data))
}

func (p *repacker) write(hdr *tar.Header, content io.Reader) error {
	hdr = tarball.Canonical(hdr)
	if !p.opts.ModTime.IsZero() {
		hdr.ModTime = p.opts.ModTime
	}
	if err := p.out.WriteHeader(hdr); err != nil {
		return err
	}
	_, err := io.CopyBuffer(onlyWriter{p.out}, onlyReader{io.LimitReader(content, hdr.Size)}, p.buf)
	return err
}
