package directory

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/logtext"
)

// A descent walks down from an open directory, which it owns, one component at a time, so that a link that someone puts in the
// way is never followed.
type descent struct {
	dir  int
	todo []string
}

func (t Tree) openWithoutLinks(name string) (fd int, owner credentials, err error) {
	dir, err := unix.Open(t.Dir, placeFlags, 0)
	if err != nil {
		return -1, owner, err
	}
	d := descent{dir, components(name)}
	defer func() { _ = unix.Close(d.dir) }()
	if owner, err = t.owner(dir); err != nil {
		return -1, owner, err
	}
	if t.dropsRights() {
		below := owner
		err := owner.do(func() (err error) {
			below, err = d.toOwner(owner)
			return err
		})
		if err != nil {
			return -1, owner, err
		}
		owner = below
	}
	err = owner.do(func() error {
		fd, err = d.open()
		return err
	})
	return fd, owner, err
}

// toOwner goes down to the first directory that belongs neither to root nor to him who is given, and returns its owner; where
// there is none it goes as far as there are directories, and returns who is given.
func (d *descent) toOwner(given credentials) (credentials, error) {
	for len(d.todo) > 0 {
		next, err := openNoFollow(d.dir, d.todo[0], lookFlags)
		if err != nil {
			return given, err
		}
		var st unix.Stat_t
		err = ignoringEINTR(func() error { return unix.Fstat(next, &st) })
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			_ = unix.Close(next)
			return given, err
		}
		d.enter(next)
		if c := credentialsOf(st.Uid, st.Gid); c.set && c.uid != given.uid {
			return c, nil
		}
	}
	return given, nil
}

// enter goes to a directory that was opened as the next one.
func (d *descent) enter(next int) {
	_ = unix.Close(d.dir)
	d.dir, d.todo = next, d.todo[1:]
}

// open goes down to the end, which it opens for reading.
func (d *descent) open() (int, error) {
	for len(d.todo) > 1 {
		next, err := openNoFollow(d.dir, d.todo[0], placeFlags)
		if err != nil {
			return -1, err
		}
		d.enter(next)
	}
	last := "."
	if len(d.todo) > 0 {
		last = d.todo[0]
	}
	return openNoFollow(d.dir, last, openFlags)
}

// openNoFollow opens an entry of a directory that is no link.
func openNoFollow(dir int, name string, flags int) (fd int, err error) {
	if name == ".." {
		return -1, errLeadsOut
	}
	err = ignoringEINTR(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW, 0)
		return err
	})
	if errors.Is(err, unix.ELOOP) {
		return -1, notAccessible("%s is a link, which is not followed here", logtext.OfURL(name))
	}
	return fd, err
}
