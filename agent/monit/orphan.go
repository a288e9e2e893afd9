package monit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// How an earlier monit is ended.
const (
	orphanLook = 20 * time.Millisecond // between looks whether it has ended
	orphanTerm = 5 * time.Second       // until it is killed
	orphanKill = 5 * time.Second       // until it is given up after that
)

// endOrphans ends each monit that runs with the same configuration: an agent that was killed leaves its own behind, and another
// one would only wake that and end.
func (d *Daemon) endOrphans(ctx context.Context) error {
	pids := orphans(d.cfg.Config)
	if len(pids) == 0 {
		return nil
	}
	d.log.Info("monit.orphan", "pids", pids)
	for _, try := range []struct {
		signal   syscall.Signal
		patience time.Duration
	}{{syscall.SIGTERM, orphanTerm}, {syscall.SIGKILL, orphanKill}} {
		for _, pid := range pids {
			if err := syscall.Kill(pid, try.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end the monit of an earlier agent, process %d: %w", pid, err)
			}
		}
		if gone, err := d.awaitOrphans(ctx, try.patience); gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("the monit of an earlier agent does not end: processes %v", pids)
}

func (d *Daemon) awaitOrphans(ctx context.Context, patience time.Duration) (gone bool, err error) {
	deadline, look := time.NewTimer(patience), time.NewTicker(orphanLook)
	defer deadline.Stop()
	defer look.Stop()
	for len(orphans(d.cfg.Config)) > 0 {
		select {
		case <-look.C:
		case <-deadline.C:
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	return true, nil
}

// orphans finds the processes with the command line that Run gives monit. One that has ended has none, whoever waits for it.
func orphans(config string) (pids []int) {
	args := [][]byte{[]byte("-I"), []byte("-c"), []byte(config)}
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline") // fails on a bad pattern only
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		fields := bytes.Split(bytes.TrimSuffix(data, []byte{0}), []byte{0})
		if len(fields) < len(args) || !slices.EqualFunc(fields[len(fields)-len(args):], args, bytes.Equal) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
