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
)

// mountFlags are those of all mounts: what containers leave there must not become dangerous for the host.
const mountFlags = unix.MS_NODEV | unix.MS_NOSUID

// Mount puts base and the writable layer of the container directory dir together. The disk is mounted, the layer filled.
func Mount(base, dir string) error {
	merged := filepath.Join(dir, MergedName)
	if err := os.Mkdir(merged, 0o755); err != nil {
		return err
	}
	work := filepath.Join(dir, diskName, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", escape(base), escape(Upper(dir)), escape(work))
	if err := unix.Mount("overlay", merged, "overlay", mountFlags, options); err != nil {
		return fmt.Errorf("mount the root file system: %w", err)
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
		if p == dir || strings.HasPrefix(p, dir+"/") {
			points = append(points, p)
		}
	}
	slices.Reverse(points)
	return points, lines.Err()
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
