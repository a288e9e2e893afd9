package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/deakit/deakit/messaging"
)

// What a process is wanted to do.
type want int

const (
	wantUnwatched want = iota // whatever it does
	wantRunning
	wantStopped
	wantGone // stopped, and the keeper ends
)

// A keeper keeps one process as it is wanted. Its goroutine, run, does all that is done to the process.
type keeper struct {
	definition Definition
	dev        *Dev

	mu      sync.Mutex
	want    want
	changed chan struct{} // closed when want changes
	state   messaging.JobState
	process processID     // while state is running
	stopped chan struct{} // closed while the process is stopped as wanted

	// What only run touches.
	program *running // that start has left running, or nil
	pause   time.Duration
}

func newKeeper(d *Dev, definition Definition) *keeper {
	return &keeper{
		definition: definition, dev: d, state: messaging.JobUnknown, pause: d.cfg.Backoff,
		changed: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// set changes what is wanted.
func (k *keeper) set(w want) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.want == w || k.want == wantGone {
		return
	}
	k.want = w
	close(k.changed)
	k.changed = make(chan struct{})
	if w == wantRunning {
		k.state = messaging.JobStarting
		select {
		case <-k.stopped:
			k.stopped = make(chan struct{})
		default:
		}
	}
}

// wanted returns what is wanted, and a channel that is closed when that changes.
func (k *keeper) wanted() (want, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.want, k.changed
}

func (k *keeper) tell(state messaging.JobState, process processID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state, k.process = state, process
}

func (k *keeper) status() messaging.AgentProcess {
	k.mu.Lock()
	p, id := messaging.AgentProcess{Name: k.definition.Name, State: k.state}, k.process
	k.mu.Unlock()
	if id.pid != 0 {
		id.measure(&p)
	}
	return p
}

// waitStopped waits until the process is stopped, and returns false when ctx ends before.
func (k *keeper) waitStopped(ctx context.Context) bool {
	k.mu.Lock()
	stopped := k.stopped
	k.mu.Unlock()
	select {
	case <-stopped:
		return true
	case <-ctx.Done():
		return false
	}
}

// run does what is wanted until ctx ends or the process is wanted no more, and then stops the process.
func (k *keeper) run(ctx context.Context) {
	defer func() {
		k.stop(context.WithoutCancel(ctx))
		k.killProgram()
	}()
	for ctx.Err() == nil {
		w, changed := k.wanted()
		var again time.Duration // when to look again; 0: when something else is wanted
		switch w {
		case wantGone:
			return
		case wantStopped:
			if k.stop(ctx) {
				k.settle()
			} else {
				again = k.dev.cfg.Poll
			}
		case wantRunning:
			again = k.keep(ctx, changed)
		case wantUnwatched:
			k.tell(messaging.JobUnknown, processID{})
		}
		wait(ctx, changed, again)
	}
}

// wait returns when ctx or changed ends, or after a while unless that is 0.
func wait(ctx context.Context, changed <-chan struct{}, while time.Duration) {
	var timer <-chan time.Time
	if while > 0 {
		timer = time.After(while)
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer:
	}
}

// settle notes that the process is stopped, if that is still wanted.
func (k *keeper) settle() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.want != wantStopped {
		return
	}
	k.state, k.process = messaging.JobUnknown, processID{}
	select {
	case <-k.stopped:
	default:
		close(k.stopped)
	}
}

// keep looks at the process, starts it if need be, and returns when to look again.
func (k *keeper) keep(ctx context.Context, changed <-chan struct{}) time.Duration {
	k.mu.Lock()
	before := k.process
	k.mu.Unlock()
	if found, err := readPIDFile(k.definition.PIDFile); err == nil {
		k.tell(messaging.JobRunning, found.processID)
		if k.program != nil && k.program.ended() {
			k.program = nil // what it has started is the process
		}
		var p messaging.AgentProcess
		if found.measure(&p); time.Duration(p.Uptime.Seconds)*time.Second >= k.dev.cfg.BackoffMax {
			k.pause = k.dev.cfg.Backoff
		}
		return k.dev.cfg.Poll
	}
	if before.pid != 0 {
		k.tell(messaging.JobFailing, processID{})
		k.dev.report(k.definition.Name, "Does not exist", "restart", "process is not running")
		if wait(ctx, changed, k.backOff()); ctx.Err() != nil {
			return 0
		}
		if w, _ := k.wanted(); w != wantRunning {
			return 0
		}
	}
	k.tell(messaging.JobStarting, processID{})
	found, err := k.start(ctx, changed)
	switch {
	case err == nil:
		k.tell(messaging.JobRunning, found)
		k.dev.report(k.definition.Name, "Exists", "alert", fmt.Sprintf("process is running with pid %d", found.pid))
		return k.dev.cfg.Poll
	case errors.Is(err, errGivenUp):
		return 0
	}
	k.killProgram()
	k.tell(messaging.JobFailing, processID{})
	k.dev.report(k.definition.Name, "Execution failed", "restart", "failed to start: "+err.Error())
	return k.backOff()
}

// backOff returns the next pause.
func (k *keeper) backOff() time.Duration {
	pause := k.pause
	k.pause = min(2*k.pause, k.dev.cfg.BackoffMax)
	return pause
}

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
		if err := k.stopProgram(ctx); err != nil {
			k.dev.report(k.definition.Name, "Execution failed", "stop", "failed to stop: "+err.Error())
		}
		if ended(ctx, found.processID, k.definition.Stop.timeout()) {
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
