package staging

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/internal/tarball"
)

// pack makes droplet and cache. All processes are ended first, so that nothing changes under the packer's hands.
func (r *run) pack(ctx context.Context) error {
	if err := r.writeInfo(ctx); err != nil {
		if errors.Is(err, container.ErrStopped) || errors.Is(err, container.ErrNotFound) || ctx.Err() != nil {
			return err
		}
		// The container works, so what the buildpack has put there is in the way.
		return &Error{Kind: DropletRefused, Err: errors.New(refusal(err))}
	}
	if err := r.container.Stop(ctx, true); err != nil {
		return err
	}
	var err error
	if r.result.Droplet, err = r.compress(ctx, r.build.Root, r.Droplet, r.Format, members{limits: r.bounds(), modTime: r.ModTime, app: true}); err != nil {
		return r.unpackable(err)
	}
	if r.NewCache == nil {
		return nil
	}
	r.result.Cache, err = r.compress(ctx, CacheDir, r.NewCache, droplet.Gzip, members{limits: r.bounds()})
	if err != nil && r.CacheOptional && ctx.Err() == nil {
		r.log.Line("       The cache cannot be kept: %s", refusal(err))
		r.slog.Warn("staging.cache.pack.failed", "error", err)
		return nil
	}
	return r.unpackable(err)
}

// writeInfo writes into the container what the droplet tells of itself.
func (r *run) writeInfo(ctx context.Context) error {
	info, err := droplet.StagingInfo{
		BuildpackPath:     r.chosen.Path(),
		DetectedBuildpack: r.result.DetectedBuildpack,
		StartCommand:      r.result.StartCommand,
		EffectiveProcfile: r.result.ProcessTypes,
		EntrypointPrefix:  r.result.EntrypointPrefix,
		Buildpacks:        r.result.Buildpacks,
		Sidecars:          r.result.Sidecars,
	}.Marshal()
	if err != nil {
		return err
	}
	content, err := r.log.content()
	if err != nil {
		return err
	}
	log := containerfs.File{Name: "logs/" + path.Base(LogPath), Mode: 0o644}
	if r.ModTime.IsZero() {
		log.Size, log.Content = content.Size(), content
	}
	if err := containerfs.WriteFiles(ctx, r.container, r.build.Root, containerfs.Text(droplet.InfoName, info), log); err != nil {
		return err
	}
	return containerfs.WriteFiles(ctx, r.container, CacheDir) // the buildpack may have removed it
}

// unpackable says of an error of packing whether what the buildpack left is to blame.
func (r *run) unpackable(err error) error {
	var failed *Error
	if err != nil && !errors.As(err, &failed) && (isRefusal(err) || errors.Is(err, fs.ErrPermission)) {
		return &Error{Kind: DropletRefused, Err: errors.New(refusal(err))}
	}
	return err
}

// compress writes the content of a directory of the container as a compressed tar file.
func (r *run) compress(ctx context.Context, dir string, w io.Writer, format droplet.Format, m members) (droplet.Digest, error) {
	stream, err := r.container.StreamOut(ctx, dir+"/")
	if err != nil {
		return droplet.Digest{}, err
	}
	from, to := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		to.CloseWithError(m.copy(to, tarball.Bound(ctx, stream, m.limits)))
	}()
	defer func() {
		from.CloseWithError(io.ErrClosedPipe)
		stream.Close() // before the end of who reads it, or that could be waited for in vain
		<-ended
	}()
	digest, err := droplet.Compress(ctx, w, from, droplet.PackOptions{Format: format, Limits: r.Limits})
	if err != nil {
		return droplet.Digest{}, fmt.Errorf("pack %s: %w", dir, err)
	}
	return digest, nil
}

// members says what becomes of the members of a tar stream on their way from a container into an archive.
type members struct {
	limits  tarball.Limits
	modTime time.Time // of all of them, unless it is zero
	app     bool      // there must be a directory of the app
}

// copy passes the members on, in one form whatever the back end.
func (m members) copy(w io.Writer, plain io.Reader) error {
	limits := m.limits.WithDefaults()
	in, out := tar.NewReader(plain), tar.NewWriter(w)
	hasApp := false
	for count := 1; ; count++ {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return err
		}
		if count > limits.MaxMembers || len(header.Name) > limits.MaxPath || len(header.Linkname) > limits.MaxPath {
			return &tarball.MemberError{Name: header.Name, Reason: tarball.ErrLimit, Detail: fmt.Sprintf(
				"more than %d members, or a path of more than %d bytes", limits.MaxMembers, limits.MaxPath)}
		}
		if path.Clean(header.Name) == "app" {
			hasApp = header.Typeflag == tar.TypeDir
		}
		member := memberHeader(header, m.modTime)
		if member == nil {
			continue
		}
		if err := out.WriteHeader(member); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, plain); err != nil { // what follows the end mark
		return err
	}
	if m.app && !hasApp {
		return errNoApp()
	}
	return out.Close()
}

// memberHeader is a header without owner, and with the given time unless that is zero. FIFOs and devices, which some back
// ends pack, have no place in a droplet: nil.
func memberHeader(h *tar.Header, modTime time.Time) *tar.Header {
	clean := &tar.Header{
		Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode & 0o777, ModTime: h.ModTime,
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
	case tar.TypeGNUSparse, tar.TypeCont:
		clean.Typeflag = tar.TypeReg
	default:
		return nil
	}
	if !modTime.IsZero() {
		clean.ModTime = modTime
	}
	return clean
}
