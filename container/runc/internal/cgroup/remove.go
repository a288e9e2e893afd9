package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// removePause is between two attempts to remove a group whose processes are ending.
const removePause = 5 * time.Millisecond

// Remove ends the processes of the group, and of those below it, at once, and removes it from all hierarchies. It is no
// error when there is none. It goes on until it succeeds or ctx ends.
func (g Group) Remove(ctx context.Context) error {
	for {
		err := g.removeOnce()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove control group %s: %w: %w", g.path, err, ctx.Err())
		case <-time.After(removePause):
		}
	}
}

func (g Group) removeOnce() error {
	var errs []error
	for _, at := range g.h.mounts() {
		dir := filepath.Join(at, g.path)
		err := os.Remove(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			continue
		}
		errs = append(errs, err, emptyGroup(dir))
	}
	return errors.Join(errs...)
}

// emptyGroup kills what is in a group, and removes the groups below it: processes with privileges can make some.
func emptyGroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := emptyGroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
			_ = os.Remove(filepath.Join(dir, e.Name())) // tried again if it is not empty yet
		}
	}
	return kill(dir)
}

// kill sends KILL to the processes of a group. One that ends between being listed and being opened may have left its
// number to another process; so its group is looked at again before the signal.
func kill(dir string) error {
	pids, err := processesOf(dir)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		if again, err := processesOf(dir); err == nil && slices.Contains(again, pid) {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may have ended
		}
		unix.Close(fd)
	}
	return nil
}

// processesOf returns the processes of the group of a directory: those in its own file, in no particular order.
func processesOf(dir string) ([]int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("processes of %s: %w", dir, err)
		}
		if pid > 0 { // 0 is one that is not visible from here
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
