package droplet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/deakit/deakit/internal/tarball"
)

// maxZstdWindow bounds the memory that a zstd droplet asks for. The program zstd needs that much from level 20 on.
const maxZstdWindow = 32 << 20

// NewReader returns the plain tar stream of the droplet r, of either format, for Container.StreamIn for example, which
// checks the members. What is neither gives ErrFormat, a stream of more than Limits.MaxBytes ends with ErrLimit, and
// one that cannot be decompressed to its very end with ErrDamaged; the other limits are not applied here. Errors of r
// are returned as they are. Memory does not depend on the size of the droplet.
//
// The caller closes the stream, also early; it does not close r. r is read ahead until Close returns. Close waits for a
// read of r that blocks.
func NewReader(r io.Reader, limits Limits) (io.ReadCloser, error) {
	plain, _, err := open(context.Background(), r, limits)
	return plain, err
}

// open is NewReader, and tells the format. ctx is looked at between chunks.
func open(ctx context.Context, r io.Reader, limits Limits) (io.ReadCloser, Format, error) {
	d := &decoder{source: &source{r: contextReader{ctx, r}}}
	format, err := d.open(bufio.NewReaderSize(d.source, chunkBytes))
	if err != nil {
		return nil, 0, fmt.Errorf("read droplet: %w", d.verdict(err))
	}
	return newAheadReader(tarball.Bound(ctx, d, tarball.Limits(limits)), d.close), format, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// A source remembers why the droplet could not be read, to tell that from a damaged droplet.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A decoder decompresses a droplet of either format.
type decoder struct {
	source *source
	plain  io.Reader
	close  func()
}

func (d *decoder) open(r *bufio.Reader) (Format, error) {
	start, err := r.Peek(4)
	if err != nil && err != io.EOF {
		return 0, err
	}
	format, ok := Sniff(start)
	if !ok {
		return 0, ErrFormat
	}
	if format == Gzip {
		d.plain, err = gzip.NewReader(r)
		d.close = func() {}
		return format, err
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err == nil {
		d.plain, d.close = z, z.Close
	}
	return format, err
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.plain.Read(p)
	if err != nil && err != io.EOF {
		err = d.verdict(err)
	}
	return n, err
}

// verdict finds the reason for an error.
func (d *decoder) verdict(err error) error {
	switch {
	case d.source.err != nil:
		return d.source.err
	case errors.Is(err, ErrFormat):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return &MemberError{Reason: ErrLimit, Detail: fmt.Sprintf("zstd window of more than %d bytes", maxZstdWindow)}
	}
	return damaged(err)
}
