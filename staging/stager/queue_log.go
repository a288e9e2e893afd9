package stager

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/applog"
)

const (
	maxTaskLog = 128 << 10 // bytes: with room for quotation, the answer stays below the 1 MiB that a NATS server takes
	maxWords   = 8 << 10   // bytes of the output of a program that are told
)

// A taskLog is what the answer tells of a task: a record is a time and a text, which may have several lines (vcap_stager). It
// may be used from several goroutines at once.
type taskLog struct {
	log *slog.Logger // gets the same, at debug

	mu      sync.Mutex
	records strings.Builder
	full    bool
}

// say records a text of the stager's own, which is there also where programs have written too much.
func (l *taskLog) say(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(text)
}

// Emit implements [applog.Emitter], for lines of plugins and their programs.
func (l *taskLog) Emit(line applog.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.full:
	case l.records.Len()+len(line.Text) > maxTaskLog:
		l.full = true
		l.put(fmt.Sprintf("The log has more than %d bytes, the rest is left out.", maxTaskLog))
	default:
		l.put(line.Text)
	}
}

// put writes a record. l.mu is held.
func (l *taskLog) put(text string) {
	fmt.Fprintf(&l.records, "[%s] %s\n", time.Now().Format(time.DateTime), text)
	l.log.Debug("stager.task.log", "text", text)
}

func (l *taskLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records.String()
}

// words keeps the end of what a program writes.
type words struct {
	mu   sync.Mutex
	kept []byte
	cut  bool
}

// Write never fails.
func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, p[max(len(p)-maxWords, 0):]...)
	if len(w.kept) > maxWords || len(p) > maxWords {
		w.kept, w.cut = w.kept[max(len(w.kept)-maxWords, 0):], true
	}
	return len(p), nil
}

func (w *words) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.TrimSpace(strings.ToValidUTF8(string(w.kept), "\uFFFD"))
	if w.cut {
		text = "... " + text
	}
	return text
}
