package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A screen is where people read what goes on. It may be used from several goroutines at once.
type screen struct {
	quiet    bool
	terminal bool
	color    bool

	mu     sync.Mutex
	out    io.Writer
	status string        // the last line, which says what is being waited for; only on a terminal
	stop   chan struct{} // ends the goroutine that renews it; nil when there is none
	ended  chan struct{}
}

func newScreen(out *os.File, quiet, noColor bool) *screen {
	s := &screen{out: out, quiet: quiet, terminal: isTerminal(out)}
	s.color = s.terminal && !noColor && os.Getenv("NO_COLOR") == ""
	return s
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// line shows a line, unless the screen is quiet.
func (s *screen) line(format string, args ...any) {
	s.print(fmt.Sprintf(format, args...))
}

// heading shows a line of weight.
func (s *screen) heading(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if s.color {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	s.print(text)
}

func (s *screen) print(text string) {
	if s.quiet {
		return
	}
	// Nobody is left to be told when the screen cannot be written to.
	s.around(func() { _, _ = fmt.Fprintln(s.out, text) })
}

// around lets write go to the same terminal, with the status out of its way.
func (s *screen) around(write func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	write()
	s.draw()
}

// progress shows on a terminal what is being waited for, and for how long, until the next call. Empty shows nothing.
func (s *screen) progress(what string) {
	s.halt()
	if what == "" || !s.terminal || s.quiet {
		return
	}
	s.stop, s.ended = make(chan struct{}), make(chan struct{})
	go s.tick(what, s.stop, s.ended)
}

func (s *screen) tick(what string, stop, ended chan struct{}) {
	defer close(ended)
	began := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		s.show(fmt.Sprintf("%s  %.0f s", what, time.Since(began).Seconds()))
		select {
		case <-stop:
			s.show("")
			return
		case <-ticker.C:
		}
	}
}

func (s *screen) show(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	s.status = status
	s.draw()
}

// wipe and draw remove and show the status. s.mu is held.
func (s *screen) wipe() {
	if s.status != "" {
		_, _ = io.WriteString(s.out, "\r\x1b[K")
	}
}

func (s *screen) draw() {
	_, _ = io.WriteString(s.out, s.status)
}

// halt ends the goroutine that renews the status.
func (s *screen) halt() {
	if s.stop != nil {
		close(s.stop)
		<-s.ended
		s.stop = nil
	}
}

// close removes the status for good.
func (s *screen) close() { s.halt() }

var colors = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// clean makes a line that others wrote fit to be shown: without colours where there are none, and without what would
// move the cursor anywhere.
func (s *screen) clean(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if n := strings.LastIndexByte(line, '\r'); n >= 0 {
		line = line[n+1:] // a program that draws progress means the last of it
	}
	if !s.color || !colors.MatchString(line) {
		return printable(colors.ReplaceAllString(line, ""))
	}
	var b strings.Builder
	for line != "" {
		at := colors.FindStringIndex(line)
		if at == nil {
			break
		}
		b.WriteString(printable(line[:at[0]]) + line[at[0]:at[1]])
		line = line[at[1]:]
	}
	return b.String() + printable(line) + "\x1b[0m"
}

// printable replaces what is no text, or would move the cursor or change the colours of a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// maxLine is where a line that does not end is cut.
const maxLine = 64 << 10

// A lineWriter hands lines to show. The caller calls flush in the end. It is for one goroutine at a time.
type lineWriter struct {
	show func(line string)
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			break
		}
		w.show(string(line))
		w.rest = rest
	}
	if len(w.rest) >= maxLine {
		w.flush()
	}
	return len(p), nil
}

func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.show(string(w.rest))
	}
	w.rest = nil
}

func writeJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// writeLine is writeJSON on one line.
func writeLine(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// size is a number of bytes for people.
func size(bytes int64) string {
	switch {
	case bytes < 10<<10:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 1<<20:
		return fmt.Sprintf("%.1f KB", float64(bytes)/(1<<10))
	default:
		return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20))
	}
}

// took is a duration for people.
func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
