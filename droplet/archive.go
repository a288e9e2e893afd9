package droplet

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"

	"github.com/deakit/deakit/internal/tarball"
)

// Limits bound a droplet that is read or made. Zero takes the default.
type Limits struct {
	// MaxBytes bounds the uncompressed tar stream, and by itself the content of all files. Default 4 GiB.
	MaxBytes int64
	// MaxMembers bounds the number of archive members. Default 500,000.
	MaxMembers int
	// MaxPath bounds each name and link target, in bytes. Default 4096.
	MaxPath int
}

// A MemberError tells which member of a droplet was refused (field Name, empty for the archive as a whole) and why
// (field Reason, one of the Err variables below it, for errors.Is).
type MemberError = tarball.MemberError

// The reasons for which a droplet is refused.
var (
	ErrPath  = tarball.ErrPath  // a name that is absolute or holds ".."
	ErrLink  = tarball.ErrLink  // a link out of the target directory, or a name that leads through a link
	ErrType  = tarball.ErrType  // a device, a FIFO or the like
	ErrSetID = tarball.ErrSetID // a setuid or setgid file
	ErrLimit = tarball.ErrLimit // one of Limits is exceeded
)

// Digest identifies the compressed bytes of a droplet.
type Digest struct {
	SHA1   string // 40 lower-case hexadecimal digits; the name of a droplet in the protocols (dea_ng)
	SHA256 string // 64 lower-case hexadecimal digits
	Size   int64  // bytes
}

// Hash reads r to its end and returns the digest of what it read.
func Hash(r io.Reader) (Digest, error) {
	h := newHasher(io.Discard)
	if _, err := io.Copy(h, onlyReader{r}); err != nil {
		return Digest{}, fmt.Errorf("hash droplet: %w", err)
	}
	return h.digest(), nil
}

// onlyReader hides other methods: an *os.File would rather copy itself.
type onlyReader struct{ io.Reader }

// A hasher passes bytes on and takes their digest.
type hasher struct {
	w            io.Writer
	sha1, sha256 hash.Hash
	size         int64
}

func newHasher(w io.Writer) *hasher {
	return &hasher{w: w, sha1: sha1.New(), sha256: sha256.New()}
}

func (h *hasher) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	h.sha1.Write(p[:n])
	h.sha256.Write(p[:n])
	h.size += int64(n)
	return n, err
}

func (h *hasher) digest() Digest {
	return Digest{hex.EncodeToString(h.sha1.Sum(nil)), hex.EncodeToString(h.sha256.Sum(nil)), h.size}
}

// PackOptions are the options of [Pack]. The zero value is useful.
type PackOptions struct {
	// Level of compression, 1 (fast) to 9 (small). Zero takes a level that comes close to the size of gzip's default.
	Level int

	// ModTime is given to all members, to the second, so that equal content gives equal droplets. Zero keeps the times
	// of the files.
	ModTime time.Time

	// Limits fail the work with ErrLimit when the tree exceeds them; MaxBytes counts the content of files.
	Limits Limits

	// Skipped is called with the name of each FIFO, socket and device, which are left out. It may be nil.
	Skipped func(name string)
}

// Pack writes the content of the directory dir below root as a droplet to w and returns the digest of the droplet. The
// same content gives the same bytes, on any number of processors: members are sorted, owners left out, modes reduced to
// the permission bits. A leading slash of dir means root. ctx is looked at between chunks; after an error, w has
// received a part.
func Pack(ctx context.Context, w io.Writer, root *os.Root, dir string, opts PackOptions) (Digest, error) {
	return pack(w, opts.Level, func(z io.Writer) error {
		return tarball.Write(ctx, z, root, dir+"/", tarball.Options{
			ModTime: opts.ModTime,
			Limits:  tarball.Limits(opts.Limits),
			Skipped: opts.Skipped,
		})
	})
}

// Compress makes a droplet of a plain tar stream as [Pack] makes it of a directory, without a look at the members: it
// is for streams out of a container. Level is that of PackOptions. ctx is looked at between chunks.
func Compress(ctx context.Context, w io.Writer, tar io.Reader, level int) (Digest, error) {
	return pack(w, level, func(z io.Writer) error {
		_, err := io.CopyBuffer(onlyWriter{z}, contextReader{ctx, tar}, make([]byte, chunkBytes))
		return err
	})
}

const chunkBytes = 128 << 10

type onlyWriter struct{ io.Writer }

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

func pack(w io.Writer, level int, fill func(io.Writer) error) (Digest, error) {
	if level == 0 {
		level = flate.DefaultCompression
	}
	h := newHasher(w)
	z, err := newGzipWriter(h, level)
	if err != nil {
		return Digest{}, fmt.Errorf("pack droplet: %w", err)
	}
	err = fill(z)
	if e := z.Close(); err == nil {
		err = e
	}
	if err != nil {
		return Digest{}, fmt.Errorf("pack droplet: %w", err)
	}
	return h.digest(), nil
}

// UnpackOptions are the options of [Unpack]. The zero value refuses whatever could leave the target directory.
type UnpackOptions struct {
	Limits Limits

	// AbsoluteLinks allows symbolic links with absolute targets: buildpacks make them, for the paths inside the
	// container. Only allow them where whoever reads the files later goes through os.Root, or sees a root of its own.
	AbsoluteLinks bool
}

// Unpack extracts the droplet r below the directory dir of root, which it makes if need be (mode 0755); a leading slash
// means root. It refuses hostile members with a [*MemberError]; what came before them stays. Existing files are
// replaced, never written through. Owners in the droplet are ignored; all belongs to the user of this process.
//
// r is read ahead; when Unpack returns nobody reads it any more. Where reading r may block, close r to interrupt
// Unpack: ctx is looked at between chunks.
func Unpack(ctx context.Context, r io.Reader, root *os.Root, dir string, opts UnpackOptions) error {
	plain, err := NewReader(contextReader{ctx, r}, opts.Limits)
	if err != nil {
		return err
	}
	defer plain.Close()
	err = tarball.Extract(ctx, root, dir, plain, tarball.ExtractOptions{
		Limits:        tarball.Limits(opts.Limits),
		AbsoluteLinks: opts.AbsoluteLinks,
	})
	if err != nil {
		return fmt.Errorf("unpack droplet: %w", err)
	}
	return nil
}

// NewReader returns the plain tar stream of the droplet r, for Container.StreamIn for example, which checks the
// members. A stream of more than Limits.MaxBytes ends with ErrLimit; the other limits are not applied here. The caller
// closes the stream, also early; it does not close r. r is read ahead until Close returns. Close waits for a read of r
// that blocks.
func NewReader(r io.Reader, limits Limits) (io.ReadCloser, error) {
	z, err := gzip.NewReader(bufio.NewReaderSize(r, chunkBytes))
	if err != nil {
		return nil, fmt.Errorf("read droplet: %w", err)
	}
	return newAheadReader(tarball.Bound(context.Background(), z, tarball.Limits(limits))), nil
}
