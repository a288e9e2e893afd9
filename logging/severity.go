package logging

import (
	"context"
	"io"
	"log/slog"
)

// The severities of the system log that Steno uses, and the longest message that it sends there, in bytes.
const (
	critical, failure, warning, informational, debugging = 2, 3, 4, 6, 7
	maxSyslogMessage                                     = 3072
)

func severity(level slog.Level) int {
	switch {
	case level >= LevelFatal:
		return critical
	case level >= LevelError:
		return failure
	case level >= LevelWarn:
		return warning
	case level >= LevelInfo:
		return informational
	default:
		return debugging
	}
}

// A severityHandler writes to the system log, which wants to know the severity besides the line. A format's handler only
// knows its writer, so there is one of each for each severity.
type severityHandler map[int]slog.Handler

type severityWriter struct {
	log      *syslog
	severity int
}

func (w severityWriter) Write(line []byte) (int, error) {
	if err := w.log.send(w.severity, line); err != nil {
		return 0, err
	}
	return len(line), nil
}

func newSeverityHandler(log *syslog, format func(io.Writer) slog.Handler) severityHandler {
	h := severityHandler{}
	for _, s := range []int{critical, failure, warning, informational, debugging} {
		h[s] = format(severityWriter{log, s})
	}
	return h
}

func (h severityHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h[severity(level)].Enabled(ctx, level)
}

func (h severityHandler) Handle(ctx context.Context, r slog.Record) error {
	if len(r.Message) > maxSyslogMessage {
		r = r.Clone()
		r.Message = cut(r.Message, maxSyslogMessage-len("...")) + "..." // Steno
	}
	return h[severity(r.Level)].Handle(ctx, r)
}

func (h severityHandler) each(change func(slog.Handler) slog.Handler) slog.Handler {
	changed := severityHandler{}
	for s, handler := range h {
		changed[s] = change(handler)
	}
	return changed
}

func (h severityHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.each(func(each slog.Handler) slog.Handler { return each.WithAttrs(attrs) })
}

func (h severityHandler) WithGroup(name string) slog.Handler {
	return h.each(func(each slog.Handler) slog.Handler { return each.WithGroup(name) })
}
