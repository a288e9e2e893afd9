package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/deakit/deakit/applog"
)

// tell writes an event as a line of JSON.
func (r *running) tell(event runEvent) { tellEvent(r.env, event) }

func tellEvent(e *env, event runEvent) {
	_ = writeLine(e.out, event) // nobody is left to be told
}

// A logScreen shows the lines of the app. It blocks when nobody reads them, other than emitters should: there is one app, and
// its log waits in a file.
type logScreen struct{ env *env }

// Emit implements applog.Emitter.
func (l *logScreen) Emit(line applog.Line) {
	if l.env.json {
		text := strings.ToValidUTF8(line.Text, "\uFFFD")
		tellEvent(l.env, runEvent{Event: "log", Stream: string(line.Stream), Text: &text})
		return
	}
	out := l.env.out
	if line.Stream == applog.Stderr {
		out = os.Stderr
	}
	l.env.screen.around(func() { _, _ = fmt.Fprintln(out, line.Text) })
}
