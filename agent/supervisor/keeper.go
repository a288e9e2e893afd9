package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
