package oci

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/tarball"
)

// Home is the directory of an image in which the content of a droplet stands, as on a DEA.
const Home = "/home/vcap"

const (
	homeName = "home/vcap"
	// whiteout begins the name of a member that stands for a removal (image-spec, layer.md).
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// ErrWhiteout: the droplet has a file whose name means the removal of another one in an image.
var ErrWhiteout = errors.New("name begins with " + whiteout + ", which an image layer cannot hold")

// packLayer writes the members of a droplet as a layer to the file, plain or compressed as opts say.
func packLayer(ctx context.Context, file *os.File, members io.Reader, plain bool, opts Options) (layer, error) {
	from, to := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		to.CloseWithError(writeLayer(ctx, to, members, opts))
	}()
	defer func() { <-written }()
	defer from.CloseWithError(io.ErrClosedPipe)
	diff := sha256.New()
	stream := io.TeeReader(from, diff)
	l := layer{name: file.Name(), mediaType: v1.MediaTypeImageLayer}
	if plain {
		n, err := io.Copy(file, stream)
		if err != nil {
			return layer{}, err
		}
		l.size, l.diffID = n, "sha256:"+hex.EncodeToString(diff.Sum(nil))
		l.digest = l.diffID
		return l, nil
	}
	limits := droplet.Limits{MaxBytes: 1 << 62} // the members are counted
	digest, err := droplet.Compress(ctx, file, stream, droplet.PackOptions{Format: opts.Format, Level: opts.Level, Limits: limits})
	if err != nil {
		return layer{}, err
	}
	l.mediaType = v1.MediaTypeImageLayerGzip
	if opts.Format == droplet.Zstd {
		l.mediaType = v1.MediaTypeImageLayerZstd
	}
	l.digest, l.size, l.diffID = "sha256:"+digest.SHA256, digest.Size, "sha256:"+hex.EncodeToString(diff.Sum(nil))
	return l, nil
}

// writeLayer writes what a DEA's container has besides its base: the content of the droplet in the home directory of
// vcap, to whom it belongs, and /app.
func writeLayer(ctx context.Context, w io.Writer, members io.Reader, opts Options) error {
	p := &layerWriter{out: tar.NewWriter(w), opts: opts, buf: make([]byte, 128<<10)}
	if err := p.base(); err != nil {
		return err
	}
	check := tarball.CheckOptions{Limits: tarball.Limits(opts.Limits), AbsoluteLinks: true}
	if err := tarball.Check(ctx, members, check, p.member); err != nil {
		return err
	}
	if err := p.home(nil); err != nil { // of a droplet without members
		return err
	}
	return p.out.Close()
}

type layerWriter struct {
	out    *tar.Writer
	opts   Options
	buf    []byte
	homely bool // whether the home directory was written
}

// base writes what stands above the home directory, and without a base image what programs look for everywhere.
func (p *layerWriter) base() error {
	members := []*tar.Header{
		{Typeflag: tar.TypeSymlink, Name: "app", Linkname: homeName + "/app", Mode: 0o777},
		{Typeflag: tar.TypeDir, Name: "home/", Mode: 0o755},
	}
	accounts := map[string]string{}
	if p.opts.Base == nil {
		vcap := fmt.Sprintf("%d:%d", p.opts.UID, p.opts.GID)
		accounts["etc/passwd"] = "root:x:0:0:root:/root:/bin/bash\nvcap:x:" + vcap + "::" + Home + ":/bin/bash\n"
		accounts["etc/group"] = fmt.Sprintf("root:x:0:\nvcap:x:%d:\n", p.opts.GID)
		members = append(members,
			&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
			&tar.Header{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755},
			&tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644, Size: int64(len(accounts["etc/group"]))},
			&tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644, Size: int64(len(accounts["etc/passwd"]))})
	}
	for _, hdr := range members {
		hdr.ModTime = p.opts.Created
		if err := p.out.WriteHeader(hdr); err != nil {
			return err
		}
		if _, err := io.WriteString(p.out, accounts[hdr.Name]); err != nil {
			return err
		}
	}
	return nil
}

func (p *layerWriter) member(hdr *tar.Header, content io.Reader) error {
	if hdr.Name == "." {
		return p.home(hdr)
	}
	if err := p.home(nil); err != nil {
		return err
	}
	if strings.HasPrefix(path.Base(hdr.Name), whiteout) {
		return &droplet.MemberError{Name: hdr.Name, Reason: ErrWhiteout}
	}
	hdr = tarball.Canonical(hdr)
	hdr.Name = homeName + strings.TrimPrefix(hdr.Name, ".")
	if hdr.Typeflag == tar.TypeLink {
		hdr.Linkname = homeName + strings.TrimPrefix(hdr.Linkname, ".")
	}
	return p.write(hdr, content)
}

// home writes the home directory once, with mode and time of the droplet's if it has them.
func (p *layerWriter) home(hdr *tar.Header) error {
	if p.homely {
		return nil
	}
	p.homely = true
	home := &tar.Header{Typeflag: tar.TypeDir, Name: homeName + "/", Mode: 0o755, ModTime: p.opts.Created}
	if hdr != nil {
		home.Mode, home.ModTime = hdr.Mode&0o777|0o700, hdr.ModTime
	}
	return p.write(home, strings.NewReader(""))
}

func (p *layerWriter) write(hdr *tar.Header, content io.Reader) error {
	hdr.Uid, hdr.Gid = p.opts.UID, p.opts.GID
	if err := p.out.WriteHeader(hdr); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{p.out}, io.LimitReader(content, hdr.Size), p.buf)
	return err
}

var epoch = time.Unix(0, 0).UTC()
