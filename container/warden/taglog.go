package warden

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Priorities of syslog: facility user, severities informational and error.
var priorities = [2]int{stdout: 8 + 6, stderr: 8 + 3}

const (
	// maxLogLine bounds one message; longer lines are cut up.
	maxLogLine = 4096
	// logPatience is how long one message may wait for syslog. After one that waited in vain, none is sent for logPause:
	// else every line would wait that long, and with it all jobs.
	logPatience = 100 * time.Millisecond
	logPause    = 5 * time.Second
)

// A tagLog sends the output of jobs that have a log_tag to syslog, line by line, under the tag "warden.<log_tag>". A line
// that cannot be sent is lost: an app must not stand still for its log.
type tagLog struct {
	socket string // empty: there is none
	log    *slog.Logger

	mu     sync.Mutex
	conn   net.Conn // nil until it is needed, and after a failure
	failed bool     // and that was told
	resume time.Time
}

func newTagLog(socket string, log *slog.Logger) *tagLog { return &tagLog{socket: socket, log: log} }

// writer returns where one stream of a job goes, or nil when nobody wants it. It never fails, and has one user at a time.
func (t *tagLog) writer(tag string, which int) *lineWriter {
	if t.socket == "" || tag == "" {
		return nil
	}
	tag = strings.Map(func(r rune) rune {
		if r <= ' ' || r == ':' || r == 0x7f {
			return '_'
		}
		return r
	}, tag)
	return &lineWriter{log: t, prefix: fmt.Sprintf("<%d>warden.%s: ", priorities[which], tag)}
}

type lineWriter struct {
	log     *tagLog
	prefix  string
	pending []byte // the beginning of a line
}

// Write sends whole lines. A line that never ends is sent when it is long enough.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.pending = append(w.pending, p...)
	for {
		end := bytes.IndexByte(w.pending, '\n')
		switch {
		case end >= 0 && end <= maxLogLine:
			w.log.send(w.prefix, w.pending[:end])
			w.pending = w.pending[end+1:]
		case len(w.pending) >= maxLogLine:
			w.log.send(w.prefix, w.pending[:maxLogLine])
			w.pending = w.pending[maxLogLine:]
		default:
			w.pending = bytes.Clone(w.pending) // lets go of what was sent
			return len(p), nil
		}
	}
}

// flush sends the end of a last line that has no end.
func (w *lineWriter) flush() {
	w.log.send(w.prefix, w.pending)
	w.pending = nil
}

func (t *tagLog) send(prefix string, line []byte) {
	if len(line) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().Before(t.resume) {
		return
	}
	err := t.deliver(append([]byte(prefix), line...))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.resume = time.Now().Add(logPause)
	}
	if err != nil && !t.failed {
		t.log.Warn("warden.syslog.failed", "socket", t.socket, "error", err)
	}
	t.failed = err != nil
}

func (t *tagLog) deliver(message []byte) (err error) {
	if t.conn == nil {
		if t.conn, err = net.Dial("unixgram", t.socket); err != nil {
			t.conn = nil
			return err
		}
	}
	_ = t.conn.SetWriteDeadline(time.Now().Add(logPatience)) // fails only where writing does
	if _, err = t.conn.Write(message); err != nil {
		t.conn.Close()
		t.conn = nil // syslog may have been started anew
	}
	return err
}

func (t *tagLog) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn != nil {
		t.conn.Close()
		t.conn = nil
	}
}
