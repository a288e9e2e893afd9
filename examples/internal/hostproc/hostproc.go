// Package hostproc finds processes of containers on the host. A pid that a container knows is not that of the host where
// the container has a pid namespace of its own: who signals it on the host hits a stranger.
package hostproc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNotFound: no process of the host is the one that was meant, or more than one may be.
var ErrNotFound = errors.New("no such process on this host")

// Find finds the process that the container knows as pid, and whose environment holds mark, which no other container
// knows, as the id of its instance. The process that is returned is that one also when its pid is drawn again: signals
// to it then fail with os.ErrProcessDone. It takes the right to read the environment of the process.
func Find(pid int, mark string) (*os.Process, error) {
	if pid < 1 || mark == "" {
		return nil, fmt.Errorf("find process %d by an empty mark or pid: %w", pid, ErrNotFound)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []*os.Process
	for _, dir := range dirs {
		outer, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || outer == 1 || outer == os.Getpid() || !is(dir, pid, mark) {
			continue
		}
		p, err := os.FindProcess(outer) // from here on, it is this one
		if err != nil {
			continue // it has ended
		}
		if !is(dir, pid, mark) {
			release(p)
			continue
		}
		found = append(found, p)
	}
	if len(found) == 1 {
		return found[0], nil
	}
	for _, p := range found {
		release(p)
	}
	return nil, fmt.Errorf("find process %d of %s: %d processes could be it: %w", pid, mark, len(found), ErrNotFound)
}

// is tells whether the process of a directory of /proc is the one that is looked for. One that ends meanwhile is not.
func is(dir string, pid int, mark string) bool {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil || innermost(string(status)) != pid {
		return false
	}
	env, err := os.ReadFile(filepath.Join(dir, "environ"))
	return err == nil && bytes.Contains(env, []byte(mark))
}

// innermost is the pid in the innermost pid namespace of a process, the last one of the line NSpid of its status; 0 if
// there is none.
func innermost(status string) int {
	for line := range strings.Lines(status) {
		if list, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(list)
			if len(fields) == 0 {
				return 0
			}
			pid, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil {
				return 0
			}
			return pid
		}
	}
	return 0
}

// release gives up the handle of a process that was not the one.
func release(p *os.Process) {
	_ = p.Release() // it fails only where it was released before
}
