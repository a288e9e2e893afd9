package directory

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxDepth bounds how deep below its directory an archive goes: a descriptor is open for each step.
const maxDepth = 128

// A packer writes an archive. Names are relative, with slashes, and in the case of directories without one at the end.
type packer interface {
	directory(name string, e *entry) error
	// file takes exactly e.size bytes of content, and fills up with zeros where there are less.
	file(name string, e *entry, content io.Reader) error
	close() error
}

// An archiver walks through a directory by handles, each opened in its parent without following a link, so that it stays
// below where it began whatever becomes of names meanwhile.
type archiver struct {
	ctx     context.Context
	owner   credentials
	dev     uint64 // of the file system to stay in
	entries int    // that may still come
	names   int    // and bytes of their names, with the way to them, which an archive may repeat at its end
	bytes   int64  // of content that may still come
	to      packer
}

func (a *archiver) directory(fd int, prefix string, depth int) error {
	var entries []entry
	err := a.owner.do(func() (err error) {
		entries, err = readEntries(fd, a.entries, true)
		return err
	})
	large := (*tooLarge)(nil)
	switch {
	case errors.As(err, &large), depth > maxDepth:
		return errTooLarge
	case err != nil:
		return err
	}
	a.entries -= len(entries)
	for i := range entries {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		if err := a.entry(fd, prefix, &entries[i], depth); err != nil {
			return err
		}
	}
	return nil
}

func (a *archiver) entry(dir int, prefix string, e *entry, depth int) error {
	if kind := e.mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil
	}
	h := &handle{}
	err := a.owner.do(func() (err error) {
		h.fd, err = openNoFollow(dir, e.name, openFlags)
		return err
	})
	if err != nil {
		return unlessAbsent(err)
	}
	defer h.close()
	if err := h.examine(); err != nil {
		return unlessAbsent(err)
	}
	if uint64(h.stat.Dev) != a.dev {
		return nil
	}
	e.mode, e.size = h.stat.Mode, h.stat.Size // of what was opened, which may be another
	name := prefix + e.name
	if a.names -= len(name); a.names < 0 {
		return errTooLarge
	}
	if h.isDir() {
		if err := a.to.directory(name, e); err != nil {
			return err
		}
		return a.directory(h.fd, name+"/", depth+1)
	}
	if a.bytes -= e.size; a.bytes < 0 {
		return errTooLarge
	}
	return a.to.file(name, e, &reading{ctx: a.ctx, fd: h.fd})
}

// unlessAbsent leaves out what has vanished, may not be read, or has become something else.
func unlessAbsent(err error) error {
	switch err := classify(err); {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, ErrNotAccessible):
		return nil
	default:
		return err
	}
}

// A reading reads a file for as long as there is somebody to read it for.
type reading struct {
	ctx context.Context
	fd  int
}

func (r *reading) Read(b []byte) (n int, err error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	err = ignoringEINTR(func() error {
		n, err = unix.Read(r.fd, b)
		return err
	})
	if n <= 0 && err == nil {
		return 0, io.EOF
	}
	return max(n, 0), err
}
