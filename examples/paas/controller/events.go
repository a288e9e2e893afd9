package controller

import "time"

// keptEvents bounds what is remembered for those who ask later.
const keptEvents = 2000

// An Event is something that happened to an app or a DEA, for people and scripts to follow.
type Event struct {
	Seq   int64     `json:"seq"`
	Time  time.Time `json:"time"`
	Kind  string    `json:"kind"` // "staging.started", "instance.running", …
	App   string    `json:"app,omitempty"`
	Index *int      `json:"index,omitempty"`
	DEA   string    `json:"dea,omitempty"`
	Text  string    `json:"text,omitempty"`
}

func newEvents() *journal[Event] {
	return newJournal(keptEvents, func(Event) int { return 1 })
}

// tell records an event; c.mu need not be held.
func (c *Controller) tell(e Event) {
	e = c.events.add(func(seq int64) Event {
		e.Seq, e.Time = seq, time.Now()
		return e
	})
	c.log.Info(e.Kind, "app", e.App, "dea", e.DEA, "text", e.Text)
}

// Events returns what happened lately.
func (c *Controller) Events() []Event {
	events, _, _ := c.events.after(0)
	return events
}
