package rootfs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The names below the directory of a container.
const (
	MergedName = "rootfs" // what processes see, before bind mounts
	diskName   = "disk"   // where the writable layer is
	imageName  = "disk.img"
	baseName   = "base" // what is below it, while that is put together
)

// mountFlags are those of all mounts: what containers leave there must not become dangerous for the host.
const mountFlags = unix.MS_NODEV | unix.MS_NOSUID

// Mount puts the base and the writable layer, which is filled, together. The disk is mounted.
func (l *Layer) Mount() error {
	if err := os.Mkdir(filepath.Join(l.Dir, MergedName), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(l.Dir, diskName, "work"), 0o700); err != nil {
		return err
	}
	var err error
	if points, lookErr := mountsBelow(l.Base); lookErr != nil {
		err = lookErr
	} else if points = without(points, l.Base); l.Unprivileged && len(points) > 0 {
		err = l.mountParts(l.seen(points))
	} else if l.Shift != nil {
		err = l.mountShifted()
	} else {
		err = l.overlay("", "")
	}
	if err != nil {
		return fmt.Errorf("mount the root file system: %w", err)
	}
	return nil
}

// overlay puts one directory of base and layer together. work names a directory for the kernel to work in.
func (l *Layer) overlay(name, work string) error {
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", escape(filepath.Join(l.Base, name)),
		escape(filepath.Join(Upper(l.Dir), name)), escape(filepath.Join(l.Dir, diskName, "work", work)))
	if l.Unprivileged {
		options += ",userxattr"
	}
	at := filepath.Join(l.Dir, MergedName, name)
	if err := unix.Mount("overlay", at, "overlay", mountFlags, options); err != nil {
		return &os.PathError{Op: "mount overlay at", Path: at, Err: err}
	}
	return nil
}

// Upper is the writable layer of the container directory dir.
func Upper(dir string) string { return filepath.Join(dir, diskName, "upper") }

// escape quotes a path for the options of overlayfs.
var escape = strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace

// Unmount unmounts everything that is mounted at or below dir, which must be absolute and without links.
func Unmount(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range points {
		err := unix.Unmount(p, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			// Someone looks at it: it is gone for everybody else, and wholly when they are done.
			err = unix.Unmount(p, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) { // which means that it is none any more
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow returns the mount points at or below dir, those that were mounted last first.
func mountsBelow(dir string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("look for mounts in %s: %w", dir, err)
	}
	defer f.Close()
	var points []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // proc_pid_mountinfo(5): the fifth is the mount point
		if len(fields) < 5 {
			continue
		}
		p := unescape(fields[4])
		if p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/") {
			points = append(points, p)
		}
	}
	slices.Reverse(points)
	return points, lines.Err()
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
