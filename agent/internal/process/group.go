package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is how often it is looked whether a process group that was told to end has.
const pollInterval = 50 * time.Millisecond

// end ends a process group whose leader is not collected yet. It returns when the leader has ended and all others were at
// least killed.
func end(group int, exited <-chan struct{}, grace time.Duration) {
	signal(group, unix.SIGTERM)
	signal(group, unix.SIGCONT) // who is stopped hears nothing
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	look := time.NewTicker(pollInterval)
	defer look.Stop()
	for alive(group) {
		select {
		case <-look.C:
			continue
		case <-deadline.C:
		}
		break
	}
	signal(group, unix.SIGKILL)
	<-exited
}

// alive tells whether a process of the group still runs. It is true when nobody can tell.
func alive(group int) bool {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return true
	}
	for _, name := range stats {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid pgrp ...; the name may hold anything (proc(5)).
		_, rest, _ := bytes.Cut(data[max(0, bytes.LastIndexByte(data, ')')):], []byte(" "))
		fields := bytes.Fields(rest)
		if len(fields) < 3 || string(fields[0]) == "Z" || string(fields[0]) == "X" {
			continue
		}
		if pgrp, err := strconv.Atoi(string(fields[2])); err == nil && pgrp == group {
			return true
		}
	}
	return false
}
