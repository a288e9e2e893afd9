package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// errGivenUp: the process is not to be started any more.
var errGivenUp = errors.New("it is not to be started any more")

// start runs the start program and waits until the process has come up. The program may end before or after that, or be the process
// itself.
func (k *keeper) start(ctx context.Context, changed <-chan struct{}) (processID, error) {
	k.killProgram() // what is left of an earlier start
	if err := os.Remove(k.definition.PIDFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return processID{}, err
	}
	program, err := k.definition.Start.begin()
	if err != nil {
		return processID{}, err
	}
	k.program = program
	late := time.NewTimer(k.definition.Start.timeout())
	defer late.Stop()
	look := time.NewTicker(min(k.dev.cfg.Poll, 50*time.Millisecond))
	defer look.Stop()
	for {
		if found, err := readPIDFile(k.definition.PIDFile); err == nil {
			return found.processID, nil
		}
		select {
		case <-ctx.Done():
			return processID{}, errGivenUp
		case <-changed:
			return processID{}, errGivenUp
		case <-late.C:
			return processID{}, fmt.Errorf("no process has come up after %s", k.definition.Start.timeout())
		case <-program.done:
			if program.err != nil {
				return processID{}, program.err
			}
			program = &running{done: make(chan struct{})} // it is not asked twice; the process may still be on its way
		case <-look.C:
		}
	}
}

// killProgram ends what is left of the start program.
func (k *keeper) killProgram() {
	if k.program != nil {
		k.program.kill()
		k.program = nil
	}
}

// stop ends the process: by the stop program, else by TERM, and by KILL when that does not help. It returns false if the process is
// still there after all.
func (k *keeper) stop(ctx context.Context) bool {
	found, err := readPIDFile(k.definition.PIDFile)
	if err != nil {
		k.killProgram() // it may be about to start the process
		found, err = readPIDFile(k.definition.PIDFile)
	}
	if err != nil {
		return true
	}
	if len(k.definition.Stop.Args) > 0 {
		err := k.stopProgram(ctx)
		if err != nil {
			k.dev.report(k.definition.Name, "Execution failed", "stop", "failed to stop: "+err.Error())
		}
		// One that could not even begin, for another apply has taken it away, ends nothing that could be waited for.
		if !errors.Is(err, fs.ErrNotExist) && ended(ctx, found.processID, k.definition.Stop.timeout()) {
			return true
		}
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		_ = syscall.Kill(found.pid, signal) // fails when it has ended
		if ended(ctx, found.processID, 10*time.Second) {
			return true
		}
	}
	if ctx.Err() == nil {
		k.dev.report(k.definition.Name, "Execution failed", "stop", "the process does not end")
	}
	return false
}

func (k *keeper) stopProgram(ctx context.Context) error {
	program, err := k.definition.Stop.begin()
	if err != nil {
		return err
	}
	return k.definition.Stop.finish(ctx, program)
}

// ended waits until a process has ended, and returns false when it has not after a while.
func ended(ctx context.Context, id processID, while time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, while)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for id.alive() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
