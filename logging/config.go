package logging

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
)

// The formats of [Config].
const (
	FormatSteno = "steno"
	FormatJSON  = "json"
	FormatText  = "text"
)

// Config says what is logged, how and where. The zero Config writes Steno's lines from level info to standard output.
type Config struct {
	// Level is one of LevelNames; empty means info.
	Level string

	// Format is FormatSteno, FormatJSON or FormatText; empty means FormatSteno.
	Format string

	// File is appended to, and made with mode 0640 when it is not there. Its directory is not made.
	File string

	// Syslog is the name under which the system log gets the lines. When both File and Syslog are given, both get each
	// line; when neither is, Stdout does (Steno).
	Syslog string

	// SyslogAddress is where the system log listens: "udp://host:port" (RFC 5424; port 514 if absent) or
	// "unixgram:///path" (the older form, as the C library writes it). Empty means unixgram:///dev/log.
	SyslogAddress string

	Stdout io.Writer // nil means os.Stdout
}

// New opens the outputs that cfg names and returns a logger that writes to them. The system log may be absent: it is looked
// for when there is something to write. The caller closes the output when nothing is logged any more.
func New(cfg Config) (*slog.Logger, *Output, error) {
	level := LevelInfo
	if cfg.Level != "" {
		var err error
		if level, err = ParseLevel(cfg.Level); err != nil {
			return nil, nil, fmt.Errorf("open log: %w", err)
		}
	}
	format, err := formatter(cfg.Format, level)
	if err != nil {
		return nil, nil, fmt.Errorf("open log: %w", err)
	}
	out := &Output{}
	var handlers []slog.Handler
	if cfg.Syslog != "" { // first, as nothing is open yet that an error would leave behind
		if out.syslog, err = newSyslog(cfg.Syslog, cfg.SyslogAddress); err != nil {
			return nil, nil, fmt.Errorf("open log: %w", err)
		}
		handlers = append(handlers, newSeverityHandler(out.syslog, format))
	}
	if cfg.File != "" {
		if out.file, err = openFile(cfg.File); err != nil {
			return nil, nil, fmt.Errorf("open log: %w", err)
		}
		handlers = append(handlers, format(out.file))
	}
	if len(handlers) == 0 {
		stdout := cfg.Stdout
		if stdout == nil {
			stdout = os.Stdout
		}
		handlers = append(handlers, format(stdout))
	}
	return slog.New(&countingHandler{slog.NewMultiHandler(handlers...), &out.lost}), out, nil
}

func formatter(name string, level slog.Level) (func(io.Writer) slog.Handler, error) {
	switch name {
	case "", FormatSteno:
		return func(w io.Writer) slog.Handler { return NewStenoHandler(w, level) }, nil
	case FormatJSON:
		return func(w io.Writer) slog.Handler { return NewJSONHandler(w, level) }, nil
	case FormatText:
		return func(w io.Writer) slog.Handler { return NewTextHandler(w, level) }, nil
	default:
		return nil, fmt.Errorf("unknown log format; choose one of %s, %s, %s", FormatSteno, FormatJSON, FormatText)
	}
}

// Output is where the lines of a logger go. Its methods may be called from several goroutines at once.
type Output struct {
	file   *file
	syslog *syslog
	lost   atomic.Uint64
}

// Reopen opens the log file again by its name, for logrotate, which renames it and then sends a signal. When that fails,
// lines go on to the file that was open. Without a file it does nothing.
func (o *Output) Reopen() error {
	if o.file == nil {
		return nil
	}
	return o.file.reopen()
}

// Lost tells how many records an output did not take: a full disk, a system log that is not there. A record that another
// output took counts too.
func (o *Output) Lost() uint64 { return o.lost.Load() }

// Close closes what New opened. Records that come later are lost. A second Close is harmless.
func (o *Output) Close() error {
	var errs []error
	if o.file != nil {
		errs = append(errs, o.file.Close())
	}
	if o.syslog != nil {
		errs = append(errs, o.syslog.Close())
	}
	return errors.Join(errs...)
}
