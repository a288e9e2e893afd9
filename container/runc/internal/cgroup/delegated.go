package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// FindDelegated looks for the control groups that were given to an ordinary user: those below the group of this process
// of version 2, if it may make some there. There may be none, which is no error: then groups are empty, and limits are
// passed over.
//
// Where nobody else is in the group but processes of the same user namespace, they move to one below it, as a group with
// processes cannot pass on controllers (cgroups(7), "no internal processes").
func FindDelegated() (*Hierarchy, error) {
	all, own, err := findOwn()
	if err != nil {
		return nil, err
	}
	return all.delegated(own)
}

// findOwn returns all control groups, and which group of version 2 this process is in.
func findOwn() (*Hierarchy, string, error) {
	all, err := Find()
	if errors.Is(err, ErrNone) {
		return &Hierarchy{}, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	own, err := ownGroup(f)
	return all, strings.TrimSuffix(own, "/"+nodeName), err // where an earlier start has brought us
}

// nodeName is the group of the processes that make containers.
const nodeName = "deakit-node"

// given tells whether a group was given to this user.
func (h *Hierarchy) given(own string) bool {
	if h.unified == "" || own == "/" || own == "" {
		return false // all of the machine is nobody's to give
	}
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if unix.Access(filepath.Join(h.unified, own, name), unix.W_OK) != nil {
			return false
		}
	}
	return true
}

// delegated returns the groups below one.
func (h *Hierarchy) delegated(own string) (*Hierarchy, error) {
	if !h.given(own) {
		return &Hierarchy{}, nil
	}
	dir := filepath.Join(h.unified, own)
	h = &Hierarchy{unified: h.unified, top: own, pure: len(h.v1) == 0}
	if err := makeRoom(dir); err != nil {
		return nil, fmt.Errorf("make room in control group %s: %w", own, err)
	}
	passOn(dir)
	text, err := read(dir, "cgroup.subtree_control")
	h.has2 = strings.Fields(text)
	return h, err
}

// ownGroup reads which group of version 2 this process is in.
func ownGroup(proc io.Reader) (string, error) {
	lines := bufio.NewScanner(proc)
	for lines.Scan() {
		if path, ok := strings.CutPrefix(lines.Text(), "0::"); ok {
			return path, nil
		}
	}
	return "", lines.Err()
}

// makeRoom moves what is in a group out of it, if all of that is of this user namespace: this process, and who holds the
// namespace. Others are not ours to move.
func makeRoom(dir string) error {
	pids, err := processesOf(dir)
	if err != nil || len(pids) == 0 {
		return err
	}
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", pid)); err != nil || its != own {
			return nil
		}
	}
	node := filepath.Join(dir, nodeName)
	if err := os.Mkdir(node, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for _, pid := range pids {
		if err := write(node, "cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// passOn gives the controllers of a group to those below it, as far as it can.
func passOn(dir string) {
	text, err := read(dir, "cgroup.controllers")
	if err != nil {
		return
	}
	for controller := range strings.FieldsSeq(text) {
		_ = write(dir, "cgroup.subtree_control", "+"+controller) // what comes of it is looked at
	}
}

// RuntimePath returns how an OCI runtime is told of a group. It is empty where the runtime must leave groups alone, as it
// has no right to those that it would make; then Join makes them.
func (h *Hierarchy) RuntimePath(path string) string {
	if h.top == "" {
		if h.unified == "" && len(h.v1) == 0 {
			return ""
		}
		return path
	}
	if h.pure {
		return filepath.Join(h.top, path)
	}
	return ""
}

// Join makes the group below a delegated one, if need be, and moves a process there.
func (g Group) Join(pid int) error {
	if g.h.top == "" {
		return nil // the runtime did
	}
	dir := g.unified()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make control group: %w", err)
	}
	passOn(filepath.Dir(dir))
	if err := write(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("enter control group: %w", err)
	}
	return nil
}

// CountsCPU tells whether the groups count processor time.
func (h *Hierarchy) CountsCPU() bool { return h.v1["cpuacct"] != "" || h.unified != "" }

// unified returns the directory of the group in version 2.
func (g Group) unified() string { return filepath.Join(g.h.unified, g.h.top, g.path) }

// Delegation returns the group that FindDelegated would take, as text for people, and changes nothing. It is empty where
// there is none.
func Delegation() (string, error) {
	h, own, err := findOwn()
	if err != nil || !h.given(own) {
		return "", err
	}
	return own, nil
}
