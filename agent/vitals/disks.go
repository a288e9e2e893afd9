package vitals

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/messaging"
)

// readDisks measures the file systems that are mounted where the configuration says.
func (s *Source) readDisks() (messaging.AgentDisks, error) {
	var disks messaging.AgentDisks
	mounted, err := s.mountPoints()
	if err != nil {
		return disks, err
	}
	var problems []error
	for _, disk := range []struct {
		path string
		to   **messaging.AgentDisk
	}{{s.cfg.System, &disks.System}, {s.cfg.Ephemeral, &disks.Ephemeral}, {s.cfg.Persistent, &disks.Persistent}} {
		if !s.cfg.Unmounted && !mounted[filepath.Clean(disk.path)] {
			continue
		}
		var st unix.Statfs_t
		err := unix.Statfs(disk.path, &st)
		switch {
		case errors.Is(err, fs.ErrNotExist): // unmounted since, or never there
		case err != nil:
			problems = append(problems, fmt.Errorf("vitals: measure %s: %w", disk.path, err))
		default:
			*disk.to = fill(&st)
		}
	}
	return disks, errors.Join(problems...)
}

// fill tells how full a file system is, as df does: what is kept for root counts as none. One without a bound of files, such as
// btrfs, is at 0 percent of it.
func fill(st *unix.Statfs_t) *messaging.AgentDisk {
	used := max(st.Blocks, st.Bfree) - st.Bfree
	files := max(st.Files, st.Ffree) - st.Ffree
	return &messaging.AgentDisk{
		Percent: noDigit(percent(used, used+st.Bavail)), InodePercent: noDigit(percent(files, st.Files)),
	}
}

// mountPoints are the paths at which something is mounted.
func (s *Source) mountPoints() (map[string]bool, error) {
	text, err := s.read("self/mounts")
	if err != nil {
		return nil, err
	}
	points := map[string]bool{}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 {
			points[unescape(fields[1])] = true
		}
	}
	return points, nil
}

// unescape turns "\040" into a blank: so the kernel writes blanks, tabs, line feeds and backslashes.
func unescape(path string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(path, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if n, err := strconv.ParseUint(after[:min(3, len(after))], 8, 8); err == nil && len(after) >= 3 {
			b.WriteByte(byte(n))
			after = after[3:]
		} else {
			b.WriteByte('\\')
		}
		path = after
	}
}
