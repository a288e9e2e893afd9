package oci

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/internal/tarball"
)

// maxRemovals bounds the names, in bytes, of what a layer removes from those below it.
const maxRemovals = 16 << 20

// A stack is a directory in which layers are put on top of each other, the home directory of the image as "home".
type stack struct {
	*importer
	root *os.Root
}

func (s stack) remove(temp string) error { return errors.Join(rmtree.Path(temp), s.root.Close()) }

// add puts a layer on top. It is read twice: what it removes belongs to the layers below, wherever it says so.
func (s stack) add(ctx context.Context, l layer) error {
	removals, err := s.removals(ctx, l)
	if err != nil {
		return err
	}
	for _, name := range removals {
		if err := s.clear(name); err != nil {
			return err
		}
	}
	from, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		_, err := s.members(ctx, to, l, s.makeRoom)
		to.CloseWithError(err)
		written <- err
	}()
	limits := tarball.Limits(s.opts.Pack.Limits)
	err = tarball.Extract(ctx, s.root, "home", from, tarball.ExtractOptions{Limits: limits, AbsoluteLinks: true})
	from.CloseWithError(io.ErrClosedPipe)
	if e := <-written; e != nil && !errors.Is(e, io.ErrClosedPipe) {
		return e // the extractor has it, too, with less said
	}
	return err
}

// makeRoom removes a directory of the layers below that this layer has something else in place of.
func (s stack) makeRoom(hdr *tar.Header) error {
	name := path.Join("home", hdr.Name)
	if info, err := s.root.Lstat(name); err == nil && info.IsDir() && hdr.Typeflag != tar.TypeDir {
		return rmtree.In(s.root, name)
	}
	return nil
}

// removals reads a layer to its end and returns what it removes: names below the stack's root, that of a directory with
// a slash at its end where only its content goes.
func (s stack) removals(ctx context.Context, l layer) (names []string, err error) {
	plain, err := s.plain(ctx, l)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	size := 0
	tr := tar.NewReader(plain)
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // such names are refused when it is unpacked
			return nil, malformed(err)
		}
		name, ok := removed(path.Clean(hdr.Name))
		if !ok {
			continue
		}
		if size += len(name); size > maxRemovals {
			return nil, &droplet.MemberError{Name: hdr.Name, Reason: droplet.ErrLimit, Detail: "too many removals"}
		}
		names = append(names, name)
	}
	_, err = io.Copy(io.Discard, plain) // to the end, where the digests are checked
	return names, err
}

// removed returns what a member removes of the home directory, if it does (image-spec, layer.md).
func removed(name string) (string, bool) {
	dir, base := path.Split(name)
	gone, ok := strings.CutPrefix(base, whiteout)
	if !ok || gone == "" || gone == "." || gone == ".." {
		return "", false
	}
	if base == opaque {
		name = path.Clean(dir)
		if rest, inside := inHome(name); inside {
			return path.Join("home", rest) + "/", true
		}
		return "home/", name == "." || name == "home"
	}
	name = dir + gone
	if rest, inside := inHome(name); inside {
		return path.Join("home", rest), true
	}
	return "home/", name == "home"
}

// clear removes what stands under a name below the root, or the content of a directory.
func (s stack) clear(name string) error {
	dir, content := strings.CutSuffix(name, "/")
	if err := rmtree.In(s.root, dir); err != nil || !content {
		return err
	}
	return s.root.MkdirAll(dir, 0o755)
}
