package oci

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/tarball"
)

// raw opens the file of a layer. At its end its digest is checked, if it has one.
func (i *Image) raw(l layer) (io.ReadCloser, error) {
	r, _, err := i.files.open(l.name)
	if err != nil {
		return nil, err
	}
	return readCloser{checked(io.LimitReader(r, l.size), l.digest, "layer"), r.Close}, nil
}

type readCloser struct {
	io.Reader
	close func() error
}

func (r readCloser) Close() error { return r.close() }

// inflate returns the plain tar stream of a layer file, which is compressed or not, and closes that with it. At its end
// both digests have been checked. A stream of more than most bytes ends with droplet.ErrLimit.
func inflate(ctx context.Context, file io.ReadCloser, l layer, most int64) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(file, 64<<10)
	limits := droplet.Limits{MaxBytes: most}
	if _, compressed := sniff(buffered); !compressed {
		return readCloser{checked(tarball.Bound(ctx, buffered, tarball.Limits(limits)), l.diffID, "layer"), file.Close}, nil
	}
	plain, err := droplet.NewReader(buffered, limits)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	closer := func() error { return errors.Join(plain.Close(), file.Close()) }
	return readCloser{checked(tarball.Bound(ctx, plain, tarball.Limits(limits)), l.diffID, "plain layer"), closer}, nil
}

// sniff returns the media type of a layer, whatever its manifest says, and whether it is compressed.
func sniff(r *bufio.Reader) (string, bool) {
	start, _ := r.Peek(4) // an error comes again
	format, ok := droplet.Sniff(start)
	switch {
	case !ok:
		return v1.MediaTypeImageLayer, false
	case format == droplet.Zstd:
		return v1.MediaTypeImageLayerZstd, true
	}
	return v1.MediaTypeImageLayerGzip, true
}

// each completes the layers, one after the other, and hands them to put: as plain tar files, or as they are. put reads
// all of a layer, at whose end its digest is checked.
func (b *bundle) each(ctx context.Context, plain bool, put func(l layer, r io.Reader) error) error {
	for n := range b.layers {
		if err := b.one(ctx, &b.layers[n], plain, put); err != nil {
			return err
		}
	}
	return nil
}

func (b *bundle) one(ctx context.Context, s *source, plain bool, put func(l layer, r io.Reader) error) (err error) {
	file, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffered := bufio.NewReaderSize(file, 64<<10)
	mediaType, compressed := sniff(buffered)
	if !compressed {
		s.digest = s.diffID // a file without a digest of its own included
	}
	if compressed && (plain || s.digest == "") {
		return b.spool(ctx, s, readCloser{buffered, func() error { return nil }}, put)
	}
	s.mediaType = mediaType
	return put(s.layer, checked(tarball.Bound(ctx, buffered, tarball.Limits{MaxBytes: 1 << 62}), s.digest, "layer"))
}

// spool decompresses a layer into a temporary file, because the size must be known before the content is written.
func (b *bundle) spool(ctx context.Context, s *source, file io.ReadCloser, put func(l layer, r io.Reader) error) (err error) {
	plain, err := inflate(ctx, file, s.layer, maxLayer)
	if err != nil {
		return err
	}
	defer plain.Close()
	temp, err := os.CreateTemp(b.tempDir, "layer-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, temp.Close(), os.Remove(temp.Name())) }()
	if s.size, err = io.Copy(temp, plain); err != nil {
		return err
	}
	s.digest, s.mediaType = s.diffID, v1.MediaTypeImageLayer
	return put(s.layer, io.NewSectionReader(temp, 0, s.size))
}

// maxLayer bounds a layer of a base image that has to be decompressed.
const maxLayer = 16 << 30
