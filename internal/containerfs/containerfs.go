// Package containerfs reads and writes small files of containers through their tar streams.
package containerfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// maxLinks is how many symbolic links ReadFile follows one after the other.
const maxLinks = 8

// A Source is what files are read from: a container.
type Source interface {
	StreamOut(ctx context.Context, p string) (io.ReadCloser, error)
}

// ReadFile reads a regular file of at most limit bytes. When the file itself is a symbolic link, it is followed as a
// process of the container would. A file that does not exist is fs.ErrNotExist.
func ReadFile(ctx context.Context, c Source, p string, limit int64) ([]byte, error) {
	for range maxLinks {
		data, link, err := readOne(ctx, c, p, limit)
		if err != nil || link == "" {
			return data, err
		}
		if !path.IsAbs(link) {
			link = path.Join(path.Dir(p), link)
		}
		p = link
	}
	return nil, fmt.Errorf("%s: too many symbolic links", p)
}

// readOne reads the file, or returns the target of the link that p is.
func readOne(ctx context.Context, c Source, p string, limit int64) (data []byte, link string, err error) {
	stream, err := c.StreamOut(ctx, p)
	if err != nil {
		return nil, "", err
	}
	defer stream.Close()
	members := tar.NewReader(stream)
	header, err := members.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, "", fmt.Errorf("%s: %w", p, fs.ErrNotExist)
	case err != nil:
		return nil, "", fmt.Errorf("%s: %w", p, err)
	case header.Typeflag == tar.TypeSymlink:
		return nil, header.Linkname, nil
	case header.Typeflag != tar.TypeReg:
		return nil, "", fmt.Errorf("%s is not a regular file", p)
	case header.Size > limit:
		return nil, "", fmt.Errorf("%s has %d bytes, more than %d", p, header.Size, limit)
	}
	data, err = io.ReadAll(members)
	return data, "", err
}

// A File is written by WriteFiles. A name that ends in "/" is a directory.
type File struct {
	Name    string
	Mode    int64
	Size    int64
	Content io.Reader // nil for an empty file or a directory
}

// Text is a File with the given content.
func Text(name string, content []byte) File {
	return File{Name: name, Mode: 0o644, Size: int64(len(content)), Content: bytes.NewReader(content)}
}

// Directory is a File that is a directory.
func Directory(name string) File { return File{Name: name + "/", Mode: 0o755} }

// A Sink is what files are written to: a container.
type Sink interface {
	StreamIn(ctx context.Context, dir, user string, tar io.Reader) error
}

// WriteFiles writes files below the directory dir of a container, which is made if need be. They belong to the app user.
func WriteFiles(ctx context.Context, c Sink, dir string, files ...File) error {
	return Stream(ctx, c, dir, func(ctx context.Context, w io.Writer) error {
		archive := tar.NewWriter(w)
		for _, f := range files {
			if err := archive.WriteHeader(&tar.Header{Name: f.Name, Mode: f.Mode, Size: f.Size}); err != nil {
				return err
			}
			if f.Content == nil {
				continue
			}
			if _, err := io.Copy(archive, f.Content); err != nil {
				return err
			}
		}
		return archive.Close()
	})
}

// SourceError tells that the writer of a [Stream] failed, and not the container.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the writer.
func (e *SourceError) Unwrap() error { return e.Err }

// Stream unpacks what write produces, a plain tar stream, below dir. It returns when write has ended, whose own error is
// returned as a [*SourceError].
func Stream(ctx context.Context, c Sink, dir string, write func(context.Context, io.Writer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(ctx, to)
		to.CloseWithError(err)
		written <- err
	}()
	err := c.StreamIn(ctx, dir, "", from)
	cancel()
	from.CloseWithError(io.ErrClosedPipe)
	// When the container failed first, the writer ends with ErrClosedPipe: that is no error of its own.
	if wrote := <-written; wrote != nil && !errors.Is(wrote, io.ErrClosedPipe) && !(err != nil && errors.Is(wrote, context.Canceled)) {
		return &SourceError{wrote}
	}
	return err
}
