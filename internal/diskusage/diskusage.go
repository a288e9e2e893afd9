// Package diskusage measures what the files of a container occupy, whatever its processes do to them meanwhile.
package diskusage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxFiles and maxDepth bound what one measurement looks at; files beyond are not counted. Each level holds a
// descriptor.
const (
	maxFiles = 1 << 20
	maxDepth = 256
)

// A meter adds up what the files below a directory occupy.
type meter struct {
	ctx   context.Context
	dev   uint64
	left  int // files
	bytes int64
	seen  map[uint64]bool // inodes with several names, counted once
}

// Of returns the bytes that the files below dir occupy on its file system, and closes dir. Files may change meanwhile:
// what vanishes is not counted. Mounts are left out, links are not followed, and what has several names counts once.
func Of(ctx context.Context, dir *os.File) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		dir.Close()
		return 0, err
	}
	m := &meter{ctx: ctx, dev: st.Dev, left: maxFiles, bytes: st.Blocks * 512, seen: map[uint64]bool{}}
	err := m.add(dir, 0)
	return m.bytes, err
}

// add counts what dir holds, and closes it. Names are looked up in opened directories, and links are not followed.
func (m *meter) add(dir *os.File, depth int) error {
	defer dir.Close()
	for m.left > 0 {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		names, err := dir.Readdirnames(512)
		if err == io.EOF || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := m.file(dir, name, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *meter) file(dir *os.File, name string, depth int) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || st.Dev != m.dev || m.left == 0 {
		return nil
	}
	m.left--
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if st.Nlink > 1 && !isDir {
		if m.seen[st.Ino] {
			return nil
		}
		m.seen[st.Ino] = true
	}
	m.bytes += st.Blocks * 512
	if !isDir || depth >= maxDepth {
		return nil
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, syscall.EMFILE) {
		return err
	}
	if err != nil {
		return nil // gone, or closed to us
	}
	return m.add(os.NewFile(uintptr(fd), name), depth+1)
}
