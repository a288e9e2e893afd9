package supervisor

import (
	"context"

	"github.com/deakit/deakit/messaging"
)

// A JobSupervisor keeps the processes of the installed jobs running. Its methods may be called from several goroutines at once.
// Errors of Start, Stop and Reload say what could not be done; the rest of it has been done then, as far as possible.
type JobSupervisor interface {
	// AddJob installs a monit file of a job. It is looked at by the next Reload.
	AddJob(file JobFile) error
	// RemoveJobs removes all monit files. What runs goes on.
	RemoveJobs() error
	// Reload makes the installed files count.
	Reload(ctx context.Context) error

	// Start has all processes started, and does not wait for them: Status tells.
	Start(ctx context.Context) error
	// Stop has all processes stopped, and does not wait for them. From then on Status is messaging.JobStopped.
	Stop(ctx context.Context) error
	// StopAndWait is Stop for callers that go on when all processes have ended (protocol 3). It gives up after some time,
	// 5 minutes by default, with an error that begins "Timed out waiting for services", and when a process cannot be stopped.
	StopAndWait(ctx context.Context) error
	// Unmonitor lets all processes go on without being watched: a drain script may end them.
	Unmonitor(ctx context.Context) error

	// Status tells how the processes are. It always has an answer: messaging.JobUnknown with Err when nobody can be asked before
	// ctx ends.
	Status(ctx context.Context) Status
}

// A Status is how the processes of all jobs are.
type Status struct {
	State     messaging.JobState
	Processes []messaging.AgentProcess // none when State is messaging.JobUnknown
	Err       error                    // why State is messaging.JobUnknown, else nil
}

// Count is the number of processes for a heartbeat: nil when it is not known.
func (s Status) Count() *int {
	if s.State == messaging.JobUnknown {
		return nil
	}
	return new(len(s.Processes))
}

// Overall sums up: stopped, whatever processes do, when they were stopped on purpose; starting when one of them is; running when all
// are, also when there are none; else failing.
func Overall(stopped bool, processes []messaging.AgentProcess) messaging.JobState {
	if stopped {
		return messaging.JobStopped
	}
	state := messaging.JobRunning
	for _, p := range processes {
		switch p.State {
		case messaging.JobRunning:
		case messaging.JobStarting:
			return messaging.JobStarting
		default:
			state = messaging.JobFailing
		}
	}
	return state
}
