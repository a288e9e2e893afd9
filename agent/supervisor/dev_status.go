package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/agent/alert"
	"github.com/deakit/deakit/messaging"
)

// Status implements JobSupervisor. While the installed files could not be loaded, so that a job may be without its processes, the state
// is messaging.JobFailing.
func (d *Dev) Status(ctx context.Context) Status {
	var processes []messaging.AgentProcess
	if err := d.each(func(k *keeper) { processes = append(processes, k.status()) }); err != nil {
		return Status{State: messaging.JobUnknown, Err: err}
	}
	stopped, err := d.files.Stopped()
	if err != nil {
		return Status{State: messaging.JobUnknown, Err: err}
	}
	slices.SortFunc(processes, func(a, b messaging.AgentProcess) int { return strings.Compare(a.Name, b.Name) })
	state := Overall(stopped, processes)
	if d.unloaded() && !stopped {
		state = messaging.JobFailing
	}
	return Status{State: state, Processes: processes}
}

func (d *Dev) unloaded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken != nil
}

// report tells of an event.
func (d *Dev) report(service, event, action, description string) {
	d.log.Info("supervisor.event", "service", service, "event", event, "action", action, "description", description)
	if d.cfg.Report == nil {
		return
	}
	d.mu.Lock()
	d.events++
	id := fmt.Sprintf("%d.%d@supervisor", d.started.UnixNano(), d.events)
	d.mu.Unlock()
	d.cfg.Report(alert.Event{
		ID: id, Service: service, Event: event, Action: action, Time: time.Now(), Description: description,
	})
}
