package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

// mountLoop makes the image, a copy of an empty one, and mounts it.
func (d *Disk) mountLoop(ctx context.Context, cfg DiskConfig, limits container.Limits) error {
	template, err := makeTemplate(ctx, cfg, limits.DiskInodes)
	if err != nil {
		return err
	}
	image := filepath.Join(d.dir, imageName)
	if err := copySparse(image, template); err != nil {
		return fmt.Errorf("copy %s: %w", template, err)
	}
	loop, err := attachLoop(image)
	if err != nil {
		return err
	}
	defer loop.Close() // it is mounted now, or detaches itself
	d.loop = filepath.Base(loop.Name())
	// Without noinit_itable the kernel would fill the sparse file in the background. The journal is of no use: after a
	// crash of the machine, the container is gone.
	err = unix.Mount(loop.Name(), filepath.Join(d.dir, diskName), "ext4", mountFlags|unix.MS_NOATIME, "noinit_itable,discard")
	if err != nil {
		return fmt.Errorf("mount %s: %w", loop.Name(), err)
	}
	return nil
}

// makeTemplate returns the path of an image with an empty file system.
func makeTemplate(ctx context.Context, cfg DiskConfig, inodes int64) (string, error) {
	name := filepath.Join(cfg.Templates, fmt.Sprintf("ext4-%d-%d.img", cfg.MaxBytes, inodes))
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	if err := os.MkdirAll(cfg.Templates, 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(cfg.Templates, "part-")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) // unless it was renamed
	err = errors.Join(f.Truncate(cfg.MaxBytes), f.Close())
	if err != nil {
		return "", err
	}
	args := []string{"-q", "-F", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1,root_owner=0:0"}
	if inodes > 0 {
		args = append(args, "-N", strconv.FormatInt(inodes+16, 10)) // 16 are its own and ours
	}
	out, err := exec.CommandContext(ctx, "mkfs.ext4", append(args, f.Name())...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mkfs.ext4: %w: %.500s", err, out)
	}
	return name, os.Rename(f.Name(), name)
}

// copySparse copies a file without the parts that were never written.
func copySparse(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); ; {
		begin, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole is left
		}
		if err != nil {
			return err
		}
		if at, err = in.Seek(begin, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, begin), io.NewSectionReader(in, begin, at-begin)); err != nil {
			return err
		}
	}
}

// attachLoop attaches a file to a free loop device, which detaches itself when neither a mount nor the returned file has
// it open any more.
func attachLoop(image string) (*os.File, error) {
	backing, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 64 { // others take devices too
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		var cfg unix.LoopConfig
		cfg.Fd = uint32(backing.Fd())
		cfg.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
		copy(cfg.Info.File_name[:len(cfg.Info.File_name)-1], image)
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &cfg)
		if errors.Is(err, unix.EINVAL) { // a file system that cannot do it
			cfg.Info.Flags &^= unix.LO_FLAGS_DIRECT_IO
			err = unix.IoctlLoopConfigure(int(loop.Fd()), &cfg)
		}
		if err == nil {
			return loop, nil
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("attach %s to %s: %w", image, loop.Name(), err)
		}
	}
	return nil, errors.New("no loop device is free")
}

// limitLoop bounds what can be written to the file system. Its size cannot be changed while it is mounted, or at least
// not made smaller; but ext4 keeps a number of blocks for itself, and that can be set at any time: it keeps all that is
// beyond the limit.
func (d *Disk) limitLoop(limit int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Join(d.dir, diskName), &st); err != nil {
		return err
	}
	free := int64(st.Blocks)*st.Bsize - d.base
	const least = 64 << 10
	var keep int64
	if limit > 0 {
		keep = max(free-max(limit, least), 0) / st.Bsize
	}
	return os.WriteFile(filepath.Join("/sys/fs/ext4", d.loop, "reserved_clusters"), []byte(strconv.FormatInt(keep, 10)), 0o644)
}

// loopOf returns the name of the loop device that is mounted at a directory.
func loopOf(dir string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", err
	}
	link, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return "", fmt.Errorf("device of %s: %w", dir, err)
	}
	if name := filepath.Base(link); strings.HasPrefix(name, "loop") {
		return name, nil
	}
	return "", fmt.Errorf("%s is not on a loop device", dir)
}

// CanLoop tells what DiskLoop lacks on this machine, if anything. It changes nothing.
func CanLoop() error {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return fmt.Errorf("limits of disk space: %w", err)
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("loop devices: %w", err)
	}
	defer control.Close()
	if _, err := os.Stat("/sys/fs/ext4"); err != nil {
		return fmt.Errorf("file system ext4: %w", err)
	}
	return nil
}
