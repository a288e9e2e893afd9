package oci

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/tarball"
)

// ImportOptions are the options of [Image.Droplet]. The zero value is useful.
type ImportOptions struct {
	// Pack tells how the droplet is made. Pack.Limits bound all layers together, as they are decompressed.
	Pack droplet.PackOptions
	// TempDir is where layers are put on top of each other; default os.TempDir().
	TempDir string
}

// Droplet makes a droplet of what the image has in /home/vcap and writes it to w. An image that [Export] made of a droplet
// that droplet.Pack had made gives that droplet again, byte for byte, where Pack has the same format, which Format tells, and
// the same level.
//
// The layers that a label says to belong to the base are left out. If one remains, it passes through in memory that
// depends on the number of its members alone. Several are put on top of each other in a temporary directory, where the
// times of directories are lost: for the same bytes each time, set Pack.ModTime.
//
// Nothing in the image is trusted: the digests of layers are checked, members of the home directory are refused as
// droplet.Verify refuses them, with absolute links allowed, and all others are passed over. After an error, w has
// received a part. ctx is looked at between chunks.
func (i *Image) Droplet(ctx context.Context, w io.Writer, opts ImportOptions) (droplet.Digest, error) {
	digest, err := i.droplet(ctx, w, opts)
	if err != nil {
		return droplet.Digest{}, fmt.Errorf("make droplet of an image: %w", err)
	}
	return digest, nil
}

// Format tells how the droplet was compressed that [Export] made the image of; false where the image does not say.
func (i *Image) Format() (droplet.Format, bool) {
	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		if i.config.Config.Labels[LabelFormat] == format.String() {
			return format, true
		}
	}
	return droplet.Gzip, false
}

func (i *Image) droplet(ctx context.Context, w io.Writer, opts ImportOptions) (droplet.Digest, error) {
	layers := i.layers
	// A label that makes no sense is none of ours.
	if below, err := strconv.Atoi(i.config.Config.Labels[LabelBaseLayers]); err == nil && below >= 0 && below < len(layers) {
		layers = layers[below:]
	}
	m := &importer{image: i, opts: opts, left: cmp.Or(opts.Pack.Limits.MaxBytes, 4<<30)}
	if len(layers) == 1 {
		return m.stream(ctx, w, layers[0])
	}
	return m.stack(ctx, w, layers)
}

// An importer makes one droplet.
type importer struct {
	image *Image
	opts  ImportOptions
	left  int64 // of Limits.MaxBytes
}

// stream makes a droplet of one layer.
func (m *importer) stream(ctx context.Context, w io.Writer, l layer) (droplet.Digest, error) {
	from, to := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		app, err := m.members(ctx, to, l, func(hdr *tar.Header) error {
			if at := m.opts.Pack.ModTime; !at.IsZero() {
				hdr.ModTime = at
			}
			return nil
		})
		if err == nil && !app {
			err = ErrNoDroplet
		}
		to.CloseWithError(err)
	}()
	digest, err := droplet.Compress(ctx, w, from, m.opts.Pack)
	from.CloseWithError(io.ErrClosedPipe)
	<-written
	return digest, err
}

// stack puts layers on top of each other and makes a droplet of the result.
func (m *importer) stack(ctx context.Context, w io.Writer, layers []layer) (_ droplet.Digest, err error) {
	temp, err := os.MkdirTemp(m.opts.TempDir, "image-")
	if err != nil {
		return droplet.Digest{}, err
	}
	root, err := os.OpenRoot(temp)
	if err != nil {
		return droplet.Digest{}, errors.Join(err, os.Remove(temp))
	}
	s := stack{importer: m, root: root}
	defer func() { err = errors.Join(err, s.remove(temp)) }()
	for _, l := range layers {
		if err := s.add(ctx, l); err != nil {
			return droplet.Digest{}, err
		}
	}
	if info, err := root.Lstat("home/app"); err != nil || !info.IsDir() {
		return droplet.Digest{}, ErrNoDroplet
	}
	return droplet.Pack(ctx, w, root, "home", m.opts.Pack)
}

// plain opens the plain tar stream of a layer within what is left of the limit.
func (m *importer) plain(ctx context.Context, l layer) (io.ReadCloser, error) {
	file, err := m.image.raw(l)
	if err != nil {
		return nil, err
	}
	return inflate(ctx, file, l, m.left)
}

// members writes those of a layer that stand in the home directory as a plain tar stream, in canonical form and after
// change had a look at each, and tells whether there is an app among them.
func (m *importer) members(ctx context.Context, w io.Writer, l layer, change func(*tar.Header) error) (app bool, err error) {
	plain, err := m.plain(ctx, l)
	if err != nil {
		return false, err
	}
	defer plain.Close()
	out, buf, home := tar.NewWriter(w), make([]byte, 128<<10), &selector{}
	counted := &counter{r: plain}
	limits := tarball.Limits(m.opts.Pack.Limits)
	limits.MaxBytes = m.left
	check := tarball.CheckOptions{Limits: limits, AbsoluteLinks: true, Select: home.take}
	err = tarball.Check(ctx, counted, check, func(hdr *tar.Header, content io.Reader) error {
		hdr = tarball.Canonical(hdr)
		if err := change(hdr); err != nil {
			return err
		}
		if err := out.WriteHeader(hdr); err != nil {
			return err
		}
		_, err := io.CopyBuffer(struct{ io.Writer }{out}, io.LimitReader(content, hdr.Size), buf)
		return err
	})
	m.left -= counted.n
	if err = cmp.Or(home.refused, err); err != nil {
		return false, malformed(err)
	}
	return home.app, out.Close()
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// malformed marks the errors of a tar stream as ErrImage and leaves all others as they are.
func malformed(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: layer: %w", ErrImage, err)
	}
	return err
}
