package bundle

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/tarball"
)

// Errors of archives besides those of package tarball.
var (
	ErrNotArchive = errors.New("it is no tar archive, plain or compressed by gzip, zstd or bzip2")
	ErrDamaged    = errors.New("archive is damaged")
)

// Extract unpacks an archive below a directory, which must exist, and tells whether it was a plain tar file. Links with
// absolute targets stay as they are: packages refer to each other by their path below the base directory. Setuid files
// are refused, as is all that has no place in a directory of files.
func (s *Store) Extract(ctx context.Context, r io.Reader, dir string) (plain bool, err error) {
	stream, plain, err := decompress(r, s.opts.Limits)
	if err != nil {
		return plain, judged(err)
	}
	defer stream.Close()
	return plain, judged(tarball.Extract(ctx, s.root, dir, stream, tarball.ExtractOptions{
		Limits:        s.opts.Limits,
		AbsoluteLinks: true,
		Owner:         s.opts.Owner,
	}))
}

// decompress returns the plain tar stream of an archive of any kind.
func decompress(r io.Reader, limits tarball.Limits) (stream io.ReadCloser, plain bool, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	start, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	_, compressed := droplet.Sniff(start)
	switch {
	case compressed:
		stream, err = droplet.NewReader(in, droplet.Limits(limits))
		return stream, false, err
	case bytes.HasPrefix(start, []byte("BZh")):
		return io.NopCloser(bzip2.NewReader(in)), false, nil
	case len(start) == 512 && (string(start[257:262]) == "ustar" || bytes.Count(start, []byte{0}) == 512):
		return io.NopCloser(in), true, nil
	case bytes.HasPrefix(start, []byte("\xfd7zXZ\x00")):
		return nil, false, fmt.Errorf("%w, but compressed by xz", ErrNotArchive)
	case len(start) == 0:
		return nil, false, fmt.Errorf("%w, but empty", ErrNotArchive)
	}
	return nil, false, ErrNotArchive
}

// judged says of an archive what package droplet says of a droplet.
func judged(err error) error {
	var wrong bzip2.StructuralError
	switch {
	case errors.Is(err, droplet.ErrDamaged), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &wrong):
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: it is cut short: %w", ErrDamaged, io.ErrUnexpectedEOF)
		}
		return ErrDamaged
	}
	return err
}

// SetJobModes gives the files of a job the modes that jobs have (bosh-agent): directories and what is below bin 0750, all
// else 0640.
func (s *Store) SetJobModes(dir string) error {
	job, err := s.root.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer job.Close()
	return fs.WalkDir(job.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o640)
		if entry.IsDir() || strings.HasPrefix(path.Clean(name), "bin/") {
			mode = 0o750
		}
		if !entry.IsDir() && !entry.Type().IsRegular() {
			return nil
		}
		return job.Chmod(name, mode)
	})
}
