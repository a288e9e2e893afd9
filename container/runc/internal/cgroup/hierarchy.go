package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNone: no control groups are mounted.
var ErrNone = errors.New("no control groups are mounted at /sys/fs/cgroup")

// A Hierarchy tells where control groups are mounted.
type Hierarchy struct {
	v1      map[string]string // mount points of version 1, by controller
	unified string            // mount point of version 2; empty if there is none
	has2    []string          // the controllers that version 2 has
	top     string            // the group of version 2 below which all are, if that is not the first
	pure    bool              // of one with a top: there is no version 1
}

// Find looks for the control groups of this process.
func Find() (*Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return find(f)
}

func find(mountinfo io.Reader) (*Hierarchy, error) {
	h := &Hierarchy{v1: map[string]string{}}
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// proc_pid_mountinfo(5): the mount point is the fifth; after a "-" come type, source and options of the file system.
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, fs := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(fs) < 3 {
			continue
		}
		switch fs[0] {
		case "cgroup2":
			if h.unified == "" {
				h.unified = fields[4]
			}
		case "cgroup":
			for option := range strings.SplitSeq(fs[2], ",") {
				// What is no controller does no harm here: nobody asks for "rw".
				if _, seen := h.v1[option]; !seen {
					h.v1[option] = fields[4]
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("look for control groups: %w", err)
	}
	if h.unified != "" {
		text, err := os.ReadFile(filepath.Join(h.unified, "cgroup.controllers"))
		if err != nil {
			return nil, fmt.Errorf("look for control groups: %w", err)
		}
		h.has2 = strings.Fields(string(text))
	}
	if h.unified == "" && len(h.v1) == 0 {
		return nil, ErrNone
	}
	return h, nil
}

// Layout names the layout: "v1", "v2" or "hybrid".
func (h *Hierarchy) Layout() string {
	switch {
	case len(h.v1) == 0 && h.unified == "":
		return "none"
	case len(h.v1) == 0:
		return "v2"
	case h.unified == "":
		return "v1"
	}
	return "hybrid"
}

// Has tells whether there is a controller, in either version: "memory", "cpu", "pids".
func (h *Hierarchy) Has(controller string) bool {
	_, ok := h.v1[controller]
	return ok || slices.Contains(h.has2, controller)
}

// mounts returns the distinct mount points.
func (h *Hierarchy) mounts() []string {
	var list []string
	for _, at := range h.v1 {
		list = append(list, at)
	}
	if h.unified != "" {
		list = append(list, filepath.Join(h.unified, h.top))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// A Group is one control group: the same path in every hierarchy.
type Group struct {
	h    *Hierarchy
	path string
}

// Group returns the group at a path, which begins with a slash, whether it exists or not.
func (h *Hierarchy) Group(path string) Group { return Group{h, path} }

// Children returns the names of the groups below a path, in any hierarchy.
func (h *Hierarchy) Children(path string) ([]string, error) {
	var names []string
	for _, at := range h.mounts() {
		entries, err := os.ReadDir(filepath.Join(at, path))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// dir returns the directory of the group for a controller, and whether that is of version 2. It is empty when there is no
// such controller.
func (g Group) dir(controller string) (dir string, v2 bool) {
	if at, ok := g.h.v1[controller]; ok {
		return filepath.Join(at, g.path), false
	}
	if slices.Contains(g.h.has2, controller) {
		return g.unified(), true
	}
	return "", false
}

// read returns the content of a file of the group for a controller, of which there is one.
func read(dir, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(text)), err
}

func write(dir, name, value string) error {
	// Not os.WriteFile, which would make a file where a controller has none.
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
