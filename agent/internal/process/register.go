package process

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A Register knows which scripts of an agent run, so that the next one can end those that go on because this one was killed. For
// each there is a file while it runs, made before it is started; the name of that is in the environment of all that the script
// starts, but for what clears that, as sudo does. Unlike a process id it belongs to nobody else later, and an empty file needs no room on
// a full disk. What a script leaves behind when it ends by itself is not known any more, and lives on.
type Register struct {
	dir string
	log *slog.Logger
}

// registerDir is below the base directory of an agent.
const registerDir = "bosh/running"

// markName is the variable with the name of the file.
const markName = "DEAKIT_SCRIPT"

// NewRegister returns that of the agent with a base directory. It makes nothing yet. A nil logger discards.
func NewRegister(base string, log *slog.Logger) *Register {
	return &Register{filepath.Join(base, registerDir), cmp.Or(log, slog.New(slog.DiscardHandler))}
}

// enter notes a script that is about to run, and returns its mark for the environment. Without a note it runs all the same.
func (r *Register) enter() (mark string, leave func()) {
	id := rand.Text()
	name := filepath.Join(r.dir, id)
	err := os.MkdirAll(r.dir, 0o700)
	if err == nil {
		err = os.WriteFile(name, nil, 0o600)
	}
	if err != nil {
		r.log.Warn("script.not_registered", "error", err, "effect", "if the agent is killed, the script goes on")
	}
	return markName + "=" + id, func() {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("script.still_registered", "error", err) // the next agent finds nothing of it
		}
	}
}

// EndOrphans ends all scripts of an agent that was killed, with all that they have started: TERM first, and KILL after the time of
// grace (default 10 s). It is for an agent that begins and runs none yet. One that cannot be killed, as it waits in the kernel for a disk
// that does not answer, is told in the log: an agent that did not come up could not be told anything.
func (r *Register) EndOrphans(ctx context.Context, grace time.Duration) error {
	entries, err := os.ReadDir(r.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("end scripts of an earlier agent: %w", err)
	}
	deadline := time.Now().Add(cmp.Or(grace, defaultGrace))
	for _, entry := range entries {
		switch err := r.endOrphan(ctx, markName+"="+entry.Name(), deadline); {
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("end scripts of an earlier agent: %w", err)
		case err != nil:
			r.log.Error("script.orphan_remains", "error", err, "effect", "it may go on beside this agent; the next one looks for it again")
			continue
		}
		if err := os.Remove(filepath.Join(r.dir, entry.Name())); err != nil {
			return fmt.Errorf("end scripts of an earlier agent: %w", err)
		}
	}
	return nil
}

func (r *Register) endOrphan(ctx context.Context, mark string, deadline time.Time) error {
	found, err := signalMarked(mark, unix.SIGTERM, unix.SIGCONT) // who is stopped hears nothing
	if err != nil || len(found) == 0 {
		return err
	}
	r.log.Warn("script.orphan", "processes", found)
	look := time.NewTicker(pollInterval)
	defer look.Stop()
	for len(found) > 0 && time.Now().Before(deadline) {
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if found, err = signalMarked(mark); err != nil {
			return err
		}
	}
	return KillMarked(mark)
}
