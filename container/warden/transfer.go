package warden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/internal/tarball"
)

// The protocol copies files of this machine, not streams: both ways lead through a directory in the state directory, which
// must have room for a second copy.

// StreamIn unpacks a tar stream and copies it into the container. Files belong to container.AppUser; another user is
// container.ErrUnsupported.
func (c *box) StreamIn(ctx context.Context, dir, user string, tar io.Reader) error {
	if err := c.streamIn(ctx, dir, user, tar); err != nil {
		return c.fail(fmt.Sprintf("stream into %q of", dir), err)
	}
	return nil
}

func (c *box) streamIn(ctx context.Context, dir, user string, tar io.Reader) error {
	if user != "" && user != container.AppUser {
		return fmt.Errorf("files for user %q: %w", user, container.ErrUnsupported)
	}
	if strings.ContainsRune(dir, 0) {
		return fmt.Errorf("path %q: %w", dir, container.ErrInvalid)
	}
	if err := c.active(ctx); err != nil { // before anything is read
		return err
	}
	temp, err := c.b.state.temp()
	if err != nil {
		return err
	}
	defer c.remove(temp)
	root, err := os.OpenRoot(temp)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := tarball.Extract(ctx, root, ".", tar, tarball.ExtractOptions{AbsoluteLinks: true}); err != nil {
		return err
	}
	dir = path.Clean("/" + dir)
	if err := c.keepMode(ctx, temp, dir); err != nil {
		return err
	}
	from := temp + "/"
	_, err = call[*protocol.CopyInResponse](ctx, c.b.conns, &protocol.CopyInRequest{Handle: &c.handle, SrcPath: &from, DstPath: &dir})
	return err
}

// keepMode gives the source of a copy the mode that its destination has or should get: rsync, which the original uses,
// copies that too.
func (c *box) keepMode(ctx context.Context, temp, dir string) error {
	mode := fs.FileMode(0o755)
	if c.b.described { // a server of this package leaves the destination as it is
		return os.Chmod(temp, mode)
	}
	inside, err := c.inside(ctx, dir)
	if err != nil {
		return err
	}
	r, err := c.script(ctx, "stat -L -c %a -- "+quote(inside)+" 2>/dev/null", false)
	if err != nil {
		return err
	}
	if found, err := strconv.ParseUint(strings.TrimSpace(r.GetStdout()), 8, 12); err == nil {
		mode = fs.FileMode(found) & fs.ModePerm
	}
	return os.Chmod(temp, mode)
}

// inside is what processes call a path of the container.
func (c *box) inside(ctx context.Context, p string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.rootKnown {
		if err := c.findRoot(ctx); err != nil {
			return "", err
		}
		c.rootKnown = true
	}
	return container.Info{Root: c.record.Root}.Inside(p), nil
}

func (c *box) remove(temp string) {
	if err := rmtree.Path(temp); err != nil {
		c.b.log.Warn("warden.copy.left-behind", "path", temp, "error", err)
	}
}

// active fails when the container is stopped or gone.
func (c *box) active(ctx context.Context) error {
	r, err := c.b.info(ctx, c.handle)
	if err == nil && r.GetState() != string(container.StateActive) {
		err = container.ErrStopped
	}
	return err
}

// StreamOut copies what stands at p out of the container, and returns it as a stream.
func (c *box) StreamOut(ctx context.Context, p string) (io.ReadCloser, error) {
	r, err := c.streamOut(ctx, p)
	if err != nil {
		return nil, c.fail(fmt.Sprintf("stream out %q of", p), err)
	}
	return r, nil
}

func (c *box) streamOut(ctx context.Context, p string) (io.ReadCloser, error) {
	if strings.ContainsRune(p, 0) {
		return nil, fmt.Errorf("path %q: %w", p, container.ErrInvalid)
	}
	temp, err := c.b.state.temp()
	if err != nil {
		return nil, err
	}
	s, err := c.copyToStream(ctx, p, temp)
	if err != nil {
		c.remove(temp)
		return nil, err
	}
	return s, nil
}

func (c *box) copyToStream(ctx context.Context, p, temp string) (io.ReadCloser, error) {
	src, name := path.Clean("/"+p), path.Base(path.Clean("/"+p))
	if strings.HasSuffix(p, "/") || src == "/" {
		src, name = strings.TrimSuffix(src, "/")+"/", "."
	}
	dst, owner := temp+"/", fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
	_, err := call[*protocol.CopyOutResponse](ctx, c.b.conns, &protocol.CopyOutRequest{
		Handle: &c.handle, SrcPath: &src, DstPath: &dst, Owner: &owner,
	})
	if err != nil {
		return nil, c.explainMissing(ctx, p, err)
	}
	if _, err := os.Lstat(filepath.Join(temp, name)); err != nil {
		return nil, err // a FIFO or a device, which is not copied
	}
	root, err := os.OpenRoot(temp)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(temp, 0o700); err != nil && name != "." {
		root.Close()
		return nil, err
	}
	return c.sendTree(ctx, root, name, temp)
}

// explainMissing finds out whether a copy failed because there is nothing to copy. The original says no more than that its
// command failed.
func (c *box) explainMissing(ctx context.Context, p string, err error) error {
	var refused *ServerError
	if !errors.As(err, &refused) || refused.kind != nil {
		return err
	}
	inside, insideErr := c.inside(ctx, p)
	if insideErr != nil {
		return err
	}
	r, scriptErr := c.script(ctx, fmt.Sprintf("[ -e %[1]s ] || [ -L %[1]s ]", quote(inside)), false)
	if scriptErr == nil && r.GetExitStatus() == 1 {
		return fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	return err
}

// sendTree returns a stream of the tree, which it removes in the end.
func (c *box) sendTree(ctx context.Context, root *os.Root, name, temp string) (io.ReadCloser, error) {
	r, w := io.Pipe()
	s := &outStream{PipeReader: r, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(ctx)
	stopClose := context.AfterFunc(c.b.ctx, cancel)
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	err := c.b.fleet.Go(func() {
		defer close(s.ended)
		defer cancel()
		defer stopClose()
		defer stop()
		w.CloseWithError(tarball.Write(ctx, w, root, name, tarball.Options{Name: name}))
		root.Close()
		c.remove(temp)
	})
	if err != nil {
		stop()
		stopClose()
		cancel()
		root.Close()
		return nil, err
	}
	return s, nil
}

// An outStream is the reading end of a StreamOut.
type outStream struct {
	*io.PipeReader
	ended chan struct{}
}

// Close ends the work behind the stream, and waits for that.
func (s *outStream) Close() error {
	err := s.PipeReader.Close()
	<-s.ended
	return err
}
