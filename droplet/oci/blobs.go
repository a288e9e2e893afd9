package oci

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/deakit/deakit/droplet"
)

// maxFiles bounds the files of a tar file that holds an image.
const maxFiles = 10_000

// files is where the parts of an image stand by name: a directory or a tar file.
type files interface {
	// open returns a regular file and its size. The caller closes it.
	open(name string) (io.ReadCloser, int64, error)
}

// A directory is an image layout below a root.
type directory struct{ root *os.Root }

func (d directory) open(name string) (io.ReadCloser, int64, error) {
	// O_NONBLOCK keeps a FIFO from stopping us.
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is no regular file", ErrImage, name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// An archive is an image in a plain tar file.
type archive struct {
	r     io.ReaderAt
	files map[string]section
}

type section struct{ offset, size int64 }

// newArchive looks where the regular files of a tar file stand. Links among them are left out: no reader needs them.
func newArchive(ctx context.Context, r io.ReaderAt, size int64) (*archive, error) {
	in := &position{ReadSeeker: io.NewSectionReader(r, 0, size)}
	a := &archive{r: r, files: map[string]section{}}
	for tr := tar.NewReader(in); ; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		hdr, err := tr.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // names are only compared
			return nil, fmt.Errorf("%w: %w", ErrImage, err)
		}
		if len(a.files) == maxFiles {
			return nil, &droplet.MemberError{Reason: droplet.ErrLimit, Detail: fmt.Sprintf("more than %d files", maxFiles)}
		}
		// The content of a sparse file is not what stands there.
		if hdr.Typeflag == tar.TypeReg && hdr.Size <= size-in.at && hdr.PAXRecords["GNU.sparse.major"] == "" {
			a.files[strings.TrimPrefix(hdr.Name, "./")] = section{in.at, hdr.Size}
		}
	}
}

// position knows where a reader stands. Seeking is kept, so that content is passed over without being read.
type position struct {
	io.ReadSeeker
	at int64
}

func (p *position) Read(b []byte) (int, error) {
	n, err := p.ReadSeeker.Read(b)
	p.at += int64(n)
	return n, err
}

func (p *position) Seek(offset int64, whence int) (int64, error) {
	at, err := p.ReadSeeker.Seek(offset, whence)
	if err == nil {
		p.at = at
	}
	return at, err
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	s, ok := a.files[name]
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(a.r, s.offset, s.size)), s.size, nil
}

var sha256Pattern = regexp.MustCompile(`^sha256:([0-9a-f]{64})$`)

// blobName returns the name of a blob in a layout. No digest leads elsewhere.
func blobName(digest string) (string, error) {
	match := sha256Pattern.FindStringSubmatch(digest)
	if match == nil {
		return "", fmt.Errorf("%w: digest %.80q is not of SHA-256", ErrImage, digest)
	}
	return "blobs/sha256/" + match[1], nil
}

// A checkedReader fails at its end with ErrDigest unless the content has the digest. An empty digest means that any will do.
type checkedReader struct {
	r    io.Reader
	hash hash.Hash
	want string // "sha256:..."
	what string
}

func checked(r io.Reader, want, what string) *checkedReader {
	return &checkedReader{r: r, hash: sha256.New(), want: want, what: what}
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	if err == io.EOF && c.want != "" && c.digest() != c.want {
		return n, fmt.Errorf("%w: %s %s has %s", ErrDigest, c.what, c.want, c.digest())
	}
	return n, err
}

func (c *checkedReader) digest() string { return "sha256:" + hex.EncodeToString(c.hash.Sum(nil)) }

// readSmall reads a JSON file of an image and checks its digest, if one is given.
func readSmall(f files, name, digest string) ([]byte, error) {
	r, size, err := f.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it has no %s: %w", ErrImage, name, err)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxJSON {
		return nil, &droplet.MemberError{Name: name, Reason: droplet.ErrLimit, Detail: fmt.Sprintf("more than %d bytes", maxJSON)}
	}
	return io.ReadAll(checked(io.LimitReader(r, maxJSON), digest, name))
}
