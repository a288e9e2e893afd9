package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/deakit/deakit/examples/paas/controller"
)

// A screen is where people read. It may be used from several goroutines at once.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	color bool
}

func newScreen(out *os.File, noColor bool) *screen {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &screen{out: out, color: terminal && !noColor && os.Getenv("NO_COLOR") == ""}
}

func (s *screen) print(style, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if s.color && style != "" {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	// Nobody is left to be told when the screen cannot be written to.
	_, _ = fmt.Fprintln(s.out, text)
}

func (s *screen) heading(text string) { s.print("1", "\n==> %s", text) }

func (s *screen) line(format string, args ...any) { s.print("", format, args...) }

// quote shows what somebody else wrote, indented.
func (s *screen) quote(text string) {
	for line := range strings.Lines(text) {
		s.print("2", "    %s", printable(strings.TrimRight(line, "\r\n")))
	}
}

// printable replaces what would move the cursor or change the colours of a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

func showEvent(s *screen, e controller.Event) {
	who := e.App
	if e.Index != nil {
		who = fmt.Sprintf("%s/%d", e.App, *e.Index)
	}
	text := e.Text
	if e.DEA != "" {
		text = strings.TrimSpace("on " + short(e.DEA) + "  " + text)
	}
	if e.Kind == "staging.log" {
		text = shortURL(e.Text)
	}
	s.print("36", "%s  %-20s %-12s %s", e.Time.Format("15:04:05.000"), e.Kind, who, printable(text))
}

func showInstances(s *screen, app controller.AppView) {
	s.line("%-5s %-10s %-34s %-14s %7s %9s %9s %7s", "index", "state", "instance", "dea", "cpu", "memory", "disk", "uptime")
	for _, i := range app.Instances {
		cpu, memory, disk, uptime := "-", "-", "-", "-"
		if i.Stats != nil {
			cpu = fmt.Sprintf("%.1f %%", i.Stats.Usage.CPU*100)
			memory, disk = size(i.Stats.Usage.Mem), size(i.Stats.Usage.Disk)
			uptime = fmt.Sprintf("%d s", i.Stats.Uptime)
		}
		s.line("%-5d %-10s %-34s %-14s %7s %9s %9s %7s", i.Index, i.State, i.Instance, short(i.DEA), cpu, memory, disk, uptime)
	}
}

func size(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20)) }

// counts lists names with their numbers, and what these count.
func counts(m map[string]int, what string) (parts []string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s: %d%s", name, m[name], what))
	}
	return parts
}

// short is enough of an id to tell it from others.
func short(id string) string { return id[:min(len(id), 12)] }

// shortURL leaves out the signature, which is long and nobody reads.
func shortURL(url string) string {
	before, after, found := strings.Cut(url, "hmac=")
	if !found {
		return url
	}
	_, rest, _ := strings.Cut(after, "&")
	return before + "hmac=…&" + rest
}

// prefixWriter writes whole lines to a screen, each with a prefix.
type prefixWriter struct {
	prefix string
	screen *screen
	rest   []byte
}

func (w *prefixWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found && len(w.rest) < 64<<10 {
			return len(p), nil
		}
		w.screen.line("%s%s", w.prefix, printable(string(line)))
		w.rest = rest
	}
}
