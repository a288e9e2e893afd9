package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/logging"
)

// A log is where the lines of the process go, and how many there were.
type log struct {
	*slog.Logger
	output *logging.Output
	counts component.LogCounts
}

func openLog(file string, cfg *config.Config) (*log, error) {
	logger, output, err := logging.New(cfg.Log())
	if err != nil {
		return nil, err
	}
	l := &log{output: output}
	l.Logger = slog.New(l.counts.Handler(logger.Handler()))
	l.Info("dea.starting", "config", file, "pid", os.Getpid())
	if output.Lost() > 0 {
		fmt.Fprintln(os.Stderr, "dea: the system log cannot be reached, so log lines are lost; set logging.file besides logging.syslog, or deakit.syslog_address")
	}
	return l, nil
}

// reopen goes on in a new file, after the old one was moved away.
func (l *log) reopen() {
	if err := l.output.Reopen(); err != nil {
		l.Error("log.reopen.failed", "error", err)
		return
	}
	l.Info("log.reopened")
}

func (l *log) close() {
	if lost := l.output.Lost(); lost > 0 {
		fmt.Fprintf(os.Stderr, "dea: %d log lines could not be written\n", lost)
	}
	if err := l.output.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "dea: close log:", err)
	}
}
