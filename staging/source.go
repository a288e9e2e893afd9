package staging

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/staging/internal/archive"
)

// A source is what stands at a path of the host: a directory, a zip file, or a gzip-compressed or plain tar file.
type source struct {
	name    string
	info    fs.FileInfo
	limits  tarball.Limits
	exclude func(name string, dir bool) (exclude, prune bool) // of a directory; may be nil
}

func openSource(name string, limits tarball.Limits) (*source, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	return &source{name: name, info: info, limits: limits}, nil
}

// unpack puts the content below the directory dir of a container. An error of the archive is a SourceError or a
// MemberError.
func (s *source) unpack(ctx context.Context, c container.Container, dir string) error {
	return containerfs.Stream(ctx, c, dir, s.write)
}

// write writes the content as a plain tar stream.
func (s *source) write(ctx context.Context, w io.Writer) error {
	if s.info.IsDir() {
		root, err := os.OpenRoot(s.name)
		if err != nil {
			return err
		}
		defer root.Close()
		return tarball.Write(ctx, w, root, "/", tarball.Options{Limits: s.limits, Exclude: s.exclude})
	}
	f, err := os.Open(s.name)
	if err != nil {
		return err
	}
	defer f.Close()
	return archive.Write(ctx, w, f, s.info.Size(), s.limits)
}

// size is what du -h prints for a file.
func (s *source) size() string {
	if st, ok := s.info.Sys().(*syscall.Stat_t); ok && !s.info.IsDir() {
		return HumanSize(st.Blocks * 512)
	}
	return HumanSize(s.info.Size())
}

// HumanSize formats a number of bytes as du -h does, rounded up: "4.0K", "12M".
func HumanSize(bytes int64) string {
	const units = "KMGTPE"
	if bytes <= 0 {
		return "0"
	}
	if bytes < 1024 {
		return strconv.FormatInt(bytes, 10)
	}
	unit := int64(1024)
	for n := 0; ; n++ {
		tenths := bytes / unit * 10
		tenths += (bytes%unit*10 + unit - 1) / unit
		if tenths < 100 {
			return fmt.Sprintf("%d.%d%c", tenths/10, tenths%10, units[n])
		}
		if whole := (bytes-1)/unit + 1; whole < 1024 || n == len(units)-1 {
			return fmt.Sprintf("%d%c", whole, units[n])
		}
		unit *= 1024
	}
}

// isRefusal tells whether an archive is to blame for an error.
func isRefusal(err error) bool {
	var source *containerfs.SourceError
	var member *tarball.MemberError
	return errors.As(err, &source) || errors.As(err, &member) ||
		errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF)
}

// refusal makes one line of why an archive was refused.
func refusal(err error) string {
	var member *tarball.MemberError
	if errors.As(err, &member) {
		return member.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}
