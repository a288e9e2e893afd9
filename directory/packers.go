package directory

import (
	"archive/tar"
	"archive/zip"
	"errors"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// copyExactly copies size bytes, zeros where content has ended before.
func copyExactly(to io.Writer, content io.Reader, size int64) error {
	buf := chunks.Get().(*[smallFile]byte)
	defer chunks.Put(buf)
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, io.LimitReader(content, size), buf[:])
	if err != nil {
		return err
	}
	clear(buf[:])
	for ; n < size; n += min(size-n, smallFile) {
		if _, err := to.Write(buf[:min(size-n, smallFile)]); err != nil {
			return err
		}
	}
	return nil
}

// A tgz is a tar archive, compressed for speed: who waits for it is on the same network most of the time.
type tgz struct {
	*tar.Writer
	compressed *gzip.Writer
}

func newTgz(w io.Writer) packer {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		panic(err) // for a level that does not exist
	}
	return &tgz{tar.NewWriter(compressed), compressed}
}

func (t *tgz) directory(name string, e *entry) error {
	return t.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: name + "/", Mode: permissions(e), ModTime: plausible(e.modified),
	})
}

func (t *tgz) file(name string, e *entry, content io.Reader) error {
	err := t.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: permissions(e), Size: e.size, ModTime: plausible(e.modified),
	})
	if err != nil {
		return err
	}
	return copyExactly(t, content, e.size)
}

func (t *tgz) close() error { return errors.Join(t.Writer.Close(), t.compressed.Close()) }

// permissions has no setuid bits and the like.
func permissions(e *entry) int64 { return int64(e.mode & 0o777) }

type zipped struct{ *zip.Writer }

func newZip(w io.Writer) packer {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestSpeed)
	})
	return &zipped{z}
}

func (z *zipped) directory(name string, e *entry) error {
	header := zip.FileHeader{Name: zipName(name) + "/", Modified: plausible(e.modified)}
	header.SetMode(fs.ModeDir | fs.FileMode(permissions(e)))
	_, err := z.CreateHeader(&header)
	return err
}

func (z *zipped) file(name string, e *entry, content io.Reader) error {
	header := zip.FileHeader{Name: zipName(name), Method: zip.Deflate, Modified: plausible(e.modified)}
	header.SetMode(fs.FileMode(permissions(e)))
	w, err := z.CreateHeader(&header)
	if err != nil {
		return err
	}
	return copyExactly(w, content, e.size)
}

func (z *zipped) close() error { return z.Writer.Close() }

// zipName writes as %XX what has a meaning on another system, where a zip file may be unpacked: `..\x` or `C:x` would lead
// out of the directory there. So it does with % itself, to keep different names different.
func zipName(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		last := i+size == len(name) || name[i+size] == '/'
		invalid := r == utf8.RuneError && size == 1
		if invalid || r < ' ' || r == 0x7f || strings.ContainsRune(`\:%*?"<>|`, r) || last && (r == '.' || r == ' ') {
			for _, c := range []byte(name[i : i+size]) {
				b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
			}
		} else {
			b.WriteString(name[i : i+size])
		}
		i += size
	}
	return b.String()
}
