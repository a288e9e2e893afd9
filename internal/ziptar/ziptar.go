// Package ziptar turns zip files into plain tar streams, so that one set of rules, that of tarball.Extract and of
// Container.StreamIn, judges the members of both kinds of archive.
package ziptar

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/deakit/deakit/internal/tarball"
)

// maxDirectory bounds the directory of a zip file, all of which is kept in memory: some 300,000 members.
const maxDirectory = 32 << 20

const chunkBytes = 128 << 10

// Write writes the members of the zip file r of the given size as a plain tar stream to w. Modes, links and hidden files
// are kept; members whose mode is unknown become files of mode 0744, as dea_ng made all files, and directories of
// mode 0755. The names are not judged: whoever extracts the stream does that.
//
// An archive that exceeds limits is refused with a [*tarball.MemberError], a damaged one with another error. ctx is looked at between chunks.
func Write(ctx context.Context, w io.Writer, r io.ReaderAt, size int64, limits tarball.Limits) error {
	limits = limits.WithDefaults()
	if err := checkDirectory(r, size, limits.MaxMembers); err != nil {
		return fmt.Errorf("read zip file: %w", err)
	}
	directory := &budgetReader{r: r, left: maxDirectory}
	z, err := zip.NewReader(directory, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return fmt.Errorf("read zip file: %w", err)
	}
	directory.unlimited = true
	c := converter{ctx: ctx, tar: tar.NewWriter(w), left: limits, buf: make([]byte, chunkBytes)}
	for _, member := range z.File {
		if err := c.member(member); err != nil {
			return fmt.Errorf("read zip file: %w", err)
		}
	}
	return c.tar.Close()
}

// budgetReader reads at most left bytes until it is made unlimited.
type budgetReader struct {
	r         io.ReaderAt
	left      int64
	unlimited bool
}

func (b *budgetReader) ReadAt(p []byte, off int64) (int, error) {
	if !b.unlimited {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, fmt.Errorf("its directory has more than %d bytes: %w", maxDirectory, tarball.ErrLimit)
		}
	}
	return b.r.ReadAt(p, off)
}

type converter struct {
	ctx  context.Context
	tar  *tar.Writer
	left tarball.Limits
	buf  []byte
}

func (c *converter) member(m *zip.File) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	c.left.MaxMembers--
	if c.left.MaxMembers < 0 || m.UncompressedSize64 > uint64(c.left.MaxBytes) || len(m.Name) > c.left.MaxPath {
		return &tarball.MemberError{Name: m.Name, Reason: tarball.ErrLimit}
	}
	header := &tar.Header{Name: m.Name, Mode: int64(m.Mode().Perm()), ModTime: m.Modified}
	unix := m.CreatorVersion>>8 == 3 && m.ExternalAttrs>>16 != 0
	mode := m.Mode()
	switch {
	case strings.HasSuffix(m.Name, "/"):
		header.Typeflag = tar.TypeDir
		if !unix {
			header.Mode = 0o755
		}
		return c.tar.WriteHeader(header)
	case mode.Type() == fs.ModeSymlink:
		return c.link(m, header)
	case mode.Type() != 0:
		return &tarball.MemberError{Name: m.Name, Reason: tarball.ErrType}
	case mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		return &tarball.MemberError{Name: m.Name, Reason: tarball.ErrSetID}
	}
	header.Typeflag, header.Size = tar.TypeReg, int64(m.UncompressedSize64)
	if !unix {
		header.Mode = 0o744
	}
	return c.file(m, header)
}

func (c *converter) link(m *zip.File, header *tar.Header) error {
	content, err := m.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	target, err := io.ReadAll(io.LimitReader(content, int64(c.left.MaxPath)+1))
	if err != nil {
		return err
	}
	if len(target) > c.left.MaxPath {
		return &tarball.MemberError{Name: m.Name, Reason: tarball.ErrLimit, Detail: "link target"}
	}
	header.Typeflag, header.Linkname = tar.TypeSymlink, string(target)
	return c.tar.WriteHeader(header)
}

func (c *converter) file(m *zip.File, header *tar.Header) error {
	content, err := m.Open()
	if err != nil {
		return fmt.Errorf("member %q: %w", m.Name, err)
	}
	defer content.Close()
	if err := c.tar.WriteHeader(header); err != nil {
		return err
	}
	// The reader fails on more and on less than the size that the member says.
	n, err := io.CopyBuffer(onlyWriter{c.tar}, contextReader{c.ctx, content}, c.buf)
	c.left.MaxBytes -= n
	if err != nil {
		return fmt.Errorf("member %q: %w", m.Name, err)
	}
	return nil
}

type onlyWriter struct{ io.Writer }

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
