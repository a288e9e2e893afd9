package droplet

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/deakit/deakit/internal/tarball"
)

// PackOptions are the options of [Pack], [Compress] and [Repack]. The zero value is useful.
type PackOptions struct {
	Format Format // default Gzip

	// Level of compression: 1 (fast) to 9 (small) for Gzip, 1 to 22 for Zstd, which has four kinds of encoder for them.
	// Zero takes a level that comes close in size to the default of the programs gzip and zstd.
	Level int

	// ModTime is given to all members, to the second, so that equal content gives equal droplets whenever it was made.
	// Zero keeps the times of the files, by which interpreters and build tools tell what is stale.
	ModTime time.Time

	// Limits fail the work with ErrLimit when the tree exceeds them; MaxBytes counts the content of files. Compress
	// looks at MaxBytes alone, as the length of the stream.
	Limits Limits

	// Skipped is called by Pack with the name of each FIFO, socket and device, which are left out. It may be nil.
	Skipped func(name string)

	// Exclude tells Pack what to leave out, by its path below dir ("a/b"). Of a directory that it excludes, only the entry
	// of its own is left out and what stands below is asked about, unless it says prune. Nil takes all.
	Exclude func(name string, dir bool) (exclude, prune bool)
}

// Pack writes the content of the directory dir below root as a droplet to w and returns the digest of the droplet. The
// same content gives the same bytes, on any number of processors: members are sorted, in each directory files before
// directories, so that staging_info.yml comes first; owners are left out, modes reduced to the permission bits. A
// leading slash of dir means root. ctx is looked at between chunks; after an error, w has received a part.
func Pack(ctx context.Context, w io.Writer, root *os.Root, dir string, opts PackOptions) (Digest, error) {
	return pack(w, opts, func(z io.Writer) error {
		return tarball.Write(ctx, z, root, dir+"/", tarball.Options{
			ModTime: opts.ModTime,
			Limits:  tarball.Limits(opts.Limits),
			Skipped: opts.Skipped,
			Exclude: opts.Exclude,
		})
	})
}

// Compress makes a droplet of a plain tar stream as [Pack] makes it of a directory, without a look at the members: it
// is for streams out of a container. ctx is looked at between chunks.
func Compress(ctx context.Context, w io.Writer, tar io.Reader, opts PackOptions) (Digest, error) {
	return pack(w, opts, func(z io.Writer) error {
		bounded := tarball.Bound(ctx, tar, tarball.Limits(opts.Limits))
		_, err := io.CopyBuffer(onlyWriter{z}, onlyReader{bounded}, make([]byte, chunkBytes))
		return err
	})
}

const chunkBytes = 128 << 10

// pack compresses what fill writes.
func pack(w io.Writer, opts PackOptions, fill func(io.Writer) error) (Digest, error) {
	codec, err := opts.Format.codec(opts.Level)
	if err != nil {
		return Digest{}, fmt.Errorf("pack droplet: %w", err)
	}
	h := newHasher(w)
	z, err := newParallelWriter(h, codec)
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
