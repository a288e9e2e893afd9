package logging

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
)

// sourceKey of an attribute given to [slog.Logger.With] becomes the source of the lines.
const sourceKey = slog.SourceKey

// A StenoHandler writes one JSON object for each record and ends it with a newline (Steno). Its keys:
//
//   - timestamp: seconds since 1970 with six decimals; left out when the record has no time
//   - message: as given
//   - log_level: fatal, error, warn, info, debug, debug1, debug2
//   - source: what Logger.With("source", name) said last outside of groups, else the name of the package that logs
//   - data: an object with all other attributes; a group is an object in it
//   - thread_id, fiber_id: null, as goroutines are neither
//   - process_id, file, lineno, method: where the line comes from; "", 0 and "" when it is not known
//
// A line is one Write. Several handlers that share a writer need a writer that can be shared.
type StenoHandler struct {
	level slog.Leveler
	out   *lockedWriter
	sites *sync.Map // program counter to site; a program has only so many

	source string   // of With, already as JSON; empty takes the package's name
	data   []byte   // attributes of With, as the inside of the object, with open groups
	open   int      // how many groups are open in data
	groups []string // of WithGroup since then; they are opened as soon as something stands in them
	pid    int
}

type lockedWriter struct {
	mu sync.Mutex
	io.Writer
}

// NewStenoHandler writes records of that level and above to w. A nil level means info.
func NewStenoHandler(w io.Writer, level slog.Leveler) *StenoHandler {
	if level == nil {
		level = LevelInfo
	}
	return &StenoHandler{level: level, out: &lockedWriter{Writer: w}, sites: &sync.Map{}, pid: os.Getpid()}
}

// Enabled implements [slog.Handler].
func (h *StenoHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// Handle implements [slog.Handler]. The error is the writer's.
func (h *StenoHandler) Handle(_ context.Context, r slog.Record) error {
	buf := buffers.Get().(*[]byte)
	defer release(buf)
	b := *buf

	b = append(b, '{')
	if !r.Time.IsZero() {
		b = append(b, `"timestamp":`...)
		b = strconv.AppendFloat(b, float64(r.Time.UnixMicro())/1e6, 'f', 6, 64)
		b = append(b, ',')
	}
	b = append(b, `"message":`...)
	b = appendString(b, r.Message)
	b = append(b, `,"log_level":"`...)
	b = append(b, LevelName(r.Level)...)
	b = append(b, `","source":`...)
	site := h.site(r.PC)
	if h.source != "" {
		b = append(b, h.source...)
	} else {
		b = append(b, site.source...)
	}
	b = append(b, `,"data":{`...)
	b = h.appendData(b, r)
	b = append(b, `},"thread_id":null,"fiber_id":null,"process_id":`...)
	b = strconv.AppendInt(b, int64(h.pid), 10)
	b = append(b, site.place...)
	b = append(b, "}\n"...)

	*buf = b
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.Write(b)
	return err
}

// appendData writes the attributes of With and then those of the record.
func (h *StenoHandler) appendData(b []byte, r slog.Record) []byte {
	b = append(b, h.data...)
	open := h.open
	if r.NumAttrs() > 0 {
		before := len(b)
		b = appendGroups(b, h.groups)
		inside := len(b)
		r.Attrs(func(a slog.Attr) bool {
			b = appendAttr(b, a)
			return true
		})
		if len(b) == inside {
			b = b[:before] // empty groups are not written
		} else {
			open += len(h.groups)
		}
	}
	for range open {
		b = append(b, '}')
	}
	return b
}

// WithAttrs implements [slog.Handler]. The attributes are rendered once, here.
func (h *StenoHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.data = appendGroups(slices.Clone(h.data), h.groups)
	inside := len(c.data)
	for _, a := range attrs {
		value := a.Value.Resolve()
		if a.Key == sourceKey && value.Kind() == slog.KindString && c.open+len(c.groups) == 0 {
			c.source = string(appendString(nil, value.String()))
			continue
		}
		c.data = appendAttr(c.data, slog.Attr{Key: a.Key, Value: value})
	}
	if len(c.data) == inside {
		c.data = h.data
		return &c
	}
	c.data = slices.Clip(c.data) // handlers that are made from this one append to it
	c.open += len(c.groups)
	c.groups = nil
	return &c
}

// WithGroup implements [slog.Handler].
func (h *StenoHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.groups = append(slices.Clip(h.groups), name)
	return &c
}
