package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

// A Layer is what a container has of its own in the beginning.
type Layer struct {
	Base string // directory
	Dir  string // of the container

	UID, GID int // of the files of container.AppUser
	Account  int // user and group id of container.AppUser as the container sees them
	Hostname string
	// Hosts and Resolv are the contents of /etc/hosts and /etc/resolv.conf; an empty Resolv keeps that of the base.
	Hosts, Resolv string

	// Hidden are paths of the base, without links, that containers do not see: in place of a directory they find an empty
	// one, in place of a file an empty one that they cannot read.
	Hidden []string

	// Files are further files, by path, which are executable.
	Files map[string][]byte
	// Unprivileged is for a process that is root of a user namespace only.
	Unprivileged bool

	// Shift lets the files of base and layer belong to other ids; nil: as they are.
	Shift *Shift

	empty []string // directories through which nothing of the base is seen, once filled
}

// Fill fills the empty writable layer. It writes to that directory and to nothing else, whatever the base holds.
func (l *Layer) Fill() error {
	upper, err := os.OpenRoot(Upper(l.Dir))
	if err != nil {
		return err
	}
	defer upper.Close()
	base, err := os.OpenRoot(l.Base)
	if err != nil {
		return err
	}
	defer base.Close()
	f := &filler{Layer: l, upper: upper, base: base}
	for _, step := range []func() error{f.directories, f.hide, f.accounts, f.system, f.shift} {
		if err := step(); err != nil {
			return fmt.Errorf("fill the writable layer: %w", err)
		}
	}
	return nil
}

type filler struct {
	*Layer
	upper, base *os.Root
}

// hide makes paths of the base empty.
func (f *filler) hide() error {
	for _, p := range f.Hidden {
		p = strings.TrimPrefix(path.Clean(p), "/")
		if slices.ContainsFunc(f.empty, func(dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }) {
			continue // it is not seen anyway
		}
		info, err := f.base.Lstat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // there is nothing to hide
		}
		if err == nil && info.Mode().Type() == fs.ModeSymlink {
			err = errors.New("it is a link")
		}
		if err != nil {
			return fmt.Errorf("hide /%s: %w", p, err)
		}
		if !info.IsDir() {
			if err := f.write(p, nil, 0o600); err != nil {
				return err
			}
			continue
		}
		if err := f.opaque(p, info.Mode()); err != nil {
			return err
		}
	}
	return nil
}

// opaque makes a directory through which nothing of the base is seen.
func (f *filler) opaque(name string, mode fs.FileMode) error {
	if err := f.mkdir(name, mode); err != nil {
		return err
	}
	d, err := f.upper.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Fsetxattr(int(d.Fd()), f.xattr("opaque"), []byte("y"), 0); err != nil {
		return fmt.Errorf("hide /%s: %w", name, err)
	}
	f.empty = append(f.empty, name)
	return nil
}

// xattr is the name of an attribute that overlayfs reads.
func (l *Layer) xattr(name string) string {
	if l.Unprivileged {
		return "user.overlay." + name
	}
	return "trusted.overlay." + name
}

// mkdir makes a directory, and its parents as they are in the base.
func (f *filler) mkdir(name string, mode fs.FileMode) error {
	if parent := path.Dir(name); parent != "." {
		if _, err := f.upper.Lstat(parent); errors.Is(err, fs.ErrNotExist) {
			parentMode := fs.FileMode(0o755)
			owner := &syscall.Stat_t{}
			if info, err := f.base.Lstat(parent); err == nil && info.IsDir() {
				parentMode = info.Mode()
				if !f.Unprivileged { // where it may be of nobody here
					owner, _ = info.Sys().(*syscall.Stat_t) // which it is on Linux
				}
			}
			if err := f.mkdir(parent, parentMode); err != nil {
				return err
			}
			if err := f.upper.Lchown(parent, int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
	}
	if err := f.upper.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.upper.Chmod(name, mode&(fs.ModePerm|fs.ModeSticky))
}

func (f *filler) write(name string, content []byte, mode fs.FileMode) error {
	if parent := path.Dir(name); parent != "." {
		if _, err := f.upper.Lstat(parent); errors.Is(err, fs.ErrNotExist) {
			if err := f.mkdir(parent, 0o755); err != nil {
				return err
			}
		}
	}
	if err := f.upper.WriteFile(name, content, 0o600); err != nil {
		return err
	}
	return f.upper.Chmod(name, mode)
}

// directories makes those that apps and buildpacks expect.
func (f *filler) directories() error {
	if err := f.upper.Chmod(".", 0o755); err != nil {
		return err
	}
	for _, d := range []struct {
		name string
		mode fs.FileMode
	}{
		{"tmp", 0o777 | fs.ModeSticky}, {"var/tmp", 0o777 | fs.ModeSticky}, {"root", 0o700}, {"run", 0o755},
	} {
		if err := f.opaque(d.name, d.mode); err != nil {
			return err
		}
	}
	// Those that the runtime mounts at.
	for _, name := range []string{"proc", "sys", "dev"} {
		if err := f.opaque(name, 0o755); err != nil {
			return err
		}
	}
	home := container.AppHome[1:]
	if err := f.opaque(path.Dir(home), 0o755); err != nil {
		return err
	}
	if err := f.mkdir(home, 0o755); err != nil {
		return err
	}
	if err := f.upper.Lchown(home, f.UID, f.GID); err != nil {
		return err
	}
	if _, err := f.base.Lstat("app"); err == nil {
		return nil
	}
	return f.upper.Symlink(container.AppHome[1:]+"/app", "app")
}

// accounts adds the app user to the accounts of the base.
func (f *filler) accounts() error {
	user := fmt.Sprintf("%s:x:%d:%d::%s:/bin/bash\n", container.AppUser, f.Account, f.Account, container.AppHome)
	group := fmt.Sprintf("%s:x:%d:\n", container.AppUser, f.Account)
	const root = "root:x:0:0:root:/root:/bin/sh\n"
	if err := f.extend("etc/passwd", root, user); err != nil {
		return err
	}
	return f.extend("etc/group", "root:x:0:\n", group)
}

// maxAccounts bounds the files of accounts that are read.
const maxAccounts = 4 << 20

// extend adds a line to a file of the base, in place of one of the same name.
func (f *filler) extend(name, standard, line string) error {
	content := []byte(standard)
	// A base may keep links here that lead out of it: then it has none for us.
	if in, err := f.base.Open(name); err == nil {
		content, err = io.ReadAll(io.LimitReader(in, maxAccounts))
		in.Close()
		if err != nil {
			return err
		}
	}
	var out bytes.Buffer
	for l := range bytes.Lines(content) {
		if !bytes.HasPrefix(l, []byte(container.AppUser+":")) {
			out.Write(bytes.TrimSuffix(l, []byte("\n")))
			out.WriteByte('\n')
		}
	}
	out.WriteString(line)
	return f.write(name, out.Bytes(), 0o644)
}

// system writes what tells the container about itself.
func (f *filler) system() error {
	files := map[string][]byte{"etc/hostname": []byte(f.Hostname + "\n"), "etc/hosts": []byte(f.Hosts)}
	if f.Resolv != "" {
		files["etc/resolv.conf"] = []byte(f.Resolv)
	}
	for name, content := range files {
		if err := f.write(name, content, 0o644); err != nil {
			return err
		}
	}
	for name, content := range f.Files {
		if err := f.write(strings.TrimPrefix(name, "/"), content, 0o755); err != nil {
			return err
		}
	}
	return nil
}
