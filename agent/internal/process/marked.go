package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	markedRounds = 200
	markedPause  = 5 * time.Millisecond
	// One that forks and ends while it is looked for is not seen, nor is its child. So it takes so many looks in a row.
	markedEmpty = 3
)

// KillMarked kills all processes that were started with a variable, "NAME=value", in their environment, also those that left
// their process group, or whose agent was killed. It fails when they get more faster than they are killed. Those of other
// users are out of reach unless this is root. This process itself is spared.
func KillMarked(mark string) error {
	if name, value, ok := strings.Cut(mark, "="); !ok || name == "" || value == "" {
		return fmt.Errorf("%q marks no process: want NAME=value", mark)
	}
	empty := 0
	for range markedRounds {
		found, err := signalMarked(mark, syscall.SIGKILL)
		if err != nil {
			return err
		}
		if empty++; len(found) > 0 {
			empty = 0
		}
		if empty == markedEmpty {
			return nil
		}
		time.Sleep(markedPause) // one that was killed takes a moment to go
	}
	return fmt.Errorf("there are always more processes of %s: find and kill them", mark)
}

// signalMarked sends signals to all marked processes, and returns their ids.
func signalMarked(mark string, signals ...os.Signal) (found []int, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == 1 || pid == os.Getpid() || !marked(dir, mark) {
			continue
		}
		p, err := os.FindProcess(pid) // from here on, it is this one
		if err != nil {
			continue // it has ended
		}
		if marked(dir, mark) {
			found = append(found, pid)
			for _, s := range signals {
				_ = p.Signal(s) // it may have ended
			}
		}
		_ = p.Release() // it fails only where it was released before
	}
	return found, nil
}

func marked(dir, mark string) bool {
	env, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return false
	}
	for variable := range bytes.SplitSeq(env, []byte{0}) {
		if string(variable) == mark {
			return true
		}
	}
	return false
}
