package controller

import (
	"context"
	"sync"
	"time"
)

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

// eventLog holds the last events and wakes those who wait for the next. It may be used from any goroutine.
type eventLog struct {
	mu     sync.Mutex
	events []Event
	seq    int64
	more   chan struct{} // closed and replaced when an event comes
}

func newEventLog() *eventLog { return &eventLog{more: make(chan struct{})} }

func (l *eventLog) add(e Event) Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq, e.Time = l.seq, time.Now()
	l.events = append(l.events, e)
	if len(l.events) > keptEvents {
		l.events = append([]Event(nil), l.events[len(l.events)-keptEvents/2:]...)
	}
	close(l.more)
	l.more = make(chan struct{})
	return e
}

// last returns the number of the newest event.
func (l *eventLog) last() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq
}

// after returns the events behind seq, and a channel that is closed when there are more.
func (l *eventLog) after(seq int64) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, e := range l.events {
		if e.Seq > seq {
			return append([]Event(nil), l.events[n:]...), l.more
		}
	}
	return nil, l.more
}

// follow yields events behind seq until ctx ends or the loop is left.
func (l *eventLog) follow(ctx context.Context, seq int64) func(yield func(Event) bool) {
	return func(yield func(Event) bool) {
		for {
			events, more := l.after(seq)
			for _, e := range events {
				if !yield(e) {
					return
				}
				seq = e.Seq
			}
			if len(events) > 0 {
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}
