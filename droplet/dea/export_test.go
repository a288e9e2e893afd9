package dea

import (
	"context"
	"time"

	"github.com/deakit/deakit/messaging"
)

// Begin starts an instance without the loop of Run: what becomes of it waits for Work.
func (d *DEA) Begin(life context.Context, m messaging.StartMessage) {
	d.life = life
	d.startInstance(m, nil)
}

// Work does what waits for the loop. The caller is the loop.
func (d *DEA) Work() { d.work() }

// Update is what dea.update does. The caller is the loop.
func (d *DEA) Update(m messaging.UpdateMessage) { d.updateInstances(m) }

// Wait returns when all instances that Begin started have ended.
func (d *DEA) Wait() { d.running.Wait() }

// ReapCrashes looks at crashes now. The caller is the loop.
func (d *DEA) ReapCrashes() { d.reapCrashes(time.Now()) }

// RouterSays is what the answer to router.greet does.
func (d *DEA) RouterSays(m messaging.RouterHello) { d.queue.Put(func() { d.routerHello(m) }) }
