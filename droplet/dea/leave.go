package dea

import (
	"context"
	"time"

	"github.com/deakit/deakit/messaging"
)

// An evacuation is under way: instances are marked, and the DEA waits until others have taken them over.
type evacuation struct {
	began  time.Time
	ticker *time.Ticker
	done   bool
}

// over tells whether the DEA may go. A nil evacuation never is.
func (e *evacuation) over() bool { return e != nil && e.done }

func (e *evacuation) tick() <-chan time.Time {
	if e == nil {
		return nil
	}
	return e.ticker.C
}

// StopAdvertising takes the DEA out of all placements, for good: it says good-bye and offers nothing any more, while
// everything else goes on. Each further call says good-bye again (SIGUSR1 of dea_ng).
func (d *DEA) StopAdvertising() {
	d.queue.Put(func() {
		d.retired = true
		d.log.Info("dea.placements.stopped", "instances", len(d.registry.All()))
		d.goodbye()
	})
}

// Evacuate makes the DEA leave in peace: it takes nothing new, marks its instances so that the health manager has them
// replaced, and goes when none is left or after EvacuationBailOut. Run returns then. Further calls are harmless.
func (d *DEA) Evacuate() { d.queue.Put(d.beginEvacuation) }

func (d *DEA) beginEvacuation() {
	if d.evacuate != nil || d.leaving.Load() {
		return
	}
	d.evacuate = &evacuation{began: time.Now(), ticker: time.NewTicker(d.cfg.EvacuationInterval)}
	d.leaving.Store(true)
	d.goodbye()
	d.evacuationPass()
}

// evacuationPass marks what is not marked yet, tells how things are, and sees whether the DEA may go.
func (d *DEA) evacuationPass() {
	for _, i := range d.registry.All() {
		i.Evacuate()
	}
	d.heartbeatDue = true
	d.evacuationCheck()
}

// evacuationCheck sees whether the DEA may go. It is called after each end of an instance, too.
func (d *DEA) evacuationCheck() {
	if d.evacuate == nil {
		return
	}
	left, staging := 0, 0
	if d.parts.Staging != nil {
		staging = d.parts.Staging.Tasks()
	}
	for _, i := range d.registry.All() {
		if s := i.Status().State; s != messaging.Stopped && s != messaging.Crashed {
			left++
		}
	}
	since := time.Since(d.evacuate.began)
	bailOut := since >= d.cfg.EvacuationBailOut
	d.evacuate.done = left+staging == 0 || bailOut
	d.log.Info("dea.evacuating", "instances", left, "staging_tasks", staging, "since", since.Round(time.Millisecond), "bail_out", bailOut)
}

// shutdown stops everything and says good-bye. It takes no longer than ShutdownTimeout and what a KILL takes; cut ends
// the grace. A back end that hangs is given up too, after some two minutes more: what it holds is an orphan of the next DEA.
func (d *DEA) shutdown(cut context.CancelFunc) {
	d.leaving.Store(true)
	d.withdrawn = true
	if d.evacuate != nil {
		d.evacuate.ticker.Stop()
	}
	d.goodbye()
	d.inbox.Close()
	if route, ok := d.filesRoute(); ok {
		d.sendRoute(messaging.RouterUnregister, route)
	}
	d.log.Info("dea.stopping", "instances", len(d.registry.All()))
	for _, i := range d.registry.All() {
		i.Stop()
	}
	ended := make(chan struct{})
	go func() { d.running.Wait(); close(ended) }()
	limit := time.NewTimer(d.cfg.ShutdownTimeout)
	defer limit.Stop()
	for waiting := true; waiting; {
		select {
		case <-d.queue.Ready():
		case <-limit.C:
			d.log.Warn("dea.stopping.too-slow", "after", d.cfg.ShutdownTimeout)
			cut()
		case <-ended:
			waiting = false
		}
		d.work()
		d.settle()
	}
	d.heartbeat() // the health manager need not wait for silence to know that they are gone
	for _, i := range d.registry.All() {
		i.Release() // crashed ones: their disk
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.outbox.Sync(ctx); err != nil {
		d.log.Warn("dea.goodbye.unsent", "messages", d.outbox.Waiting(), "error", err)
	}
	d.log.Info("dea.stopped")
}
