package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/deakit/deakit/messaging"
)

const (
	// keptLines bounds what is remembered of the log of one app, in bytes.
	keptLines = 1 << 20

	// lineOverhead is what a line takes beside its text, in bytes, roughly.
	lineOverhead = 200

	// keptVoices bounds how many instances of an app are known to have sent lines.
	keptVoices = 10_000
)

// logs are the newest lines of the apps, as DEAs send them on NATS. They have a lock of their own, so that an app that writes
// much holds up nobody else.
type logs struct {
	mu   sync.Mutex
	apps map[string]*appLog // by guid
}

type appLog struct {
	lines  *journal[messaging.AppLogLine]
	voices map[string]bool // instances that sent a line; guarded by logs.mu
}

func newLogs() *logs { return &logs{apps: map[string]*appLog{}} }

// open begins to keep the lines of an app.
func (l *logs) open(guid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apps[guid] = &appLog{
		lines:  newJournal(keptLines, func(m messaging.AppLogLine) int { return len(m.Text) + lineOverhead }),
		voices: map[string]bool{},
	}
}

// drop forgets the lines of an app, and ends those who follow them.
func (l *logs) drop(guid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.apps[guid]; a != nil {
		a.lines.end()
		delete(l.apps, guid)
	}
}

func (l *logs) of(guid string) *journal[messaging.AppLogLine] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.apps[guid]; a != nil {
		return a.lines
	}
	return nil
}

// heard takes a line. Those of apps that nobody here knows are none of our business.
func (l *logs) heard(m messaging.AppLogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.apps[string(m.App)]
	if a == nil {
		return
	}
	if len(a.voices) > keptVoices {
		clear(a.voices) // those that live are heard again; of a quiet one the files are shown instead
	}
	a.voices[m.Instance] = true
	a.lines.add(func(int64) messaging.AppLogLine { return m })
}

// silent tells whether no line of an instance has come: its DEA may send none.
func (l *logs) silent(guid, instance string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.apps[guid]
	return a == nil || !a.voices[instance]
}

// subscribeLogs has lines taken in.
func (c *Controller) subscribeLogs(in *messaging.Inbox) error {
	all := messaging.Subject[messaging.AppLogLine](messaging.AppLogPrefix + ".*")
	return messaging.Handle(in, all, func(_ context.Context, m messaging.AppLogLine) { c.logs.heard(m) })
}

// Logs yields the newest lines of an app by time, and with follow those that come, of instances that are yet to be started
// too, until ctx ends or the app is deleted.
func (c *Controller) Logs(ctx context.Context, name string, follow bool) (func(yield func(messaging.AppLogLine) bool), error) {
	var lines *journal[messaging.AppLogLine]
	c.locked(func() {
		if a := c.apps[name]; a != nil {
			lines = c.logs.of(a.guid)
		}
	})
	if lines == nil {
		return nil, fmt.Errorf("app %s: %w", name, ErrNoApp)
	}
	return func(yield func(messaging.AppLogLine) bool) {
		kept, last, _ := lines.after(0)
		slices.SortStableFunc(kept, func(a, b messaging.AppLogLine) int {
			return a.Time.Compare(b.Time)
		})
		for _, line := range kept {
			if !yield(line) {
				return
			}
		}
		if follow {
			lines.follow(ctx, last)(yield)
		}
	}, nil
}
