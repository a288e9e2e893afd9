package dea

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
)

// What the DEA tells people of their apps.

// newFollower returns what follows the logs of apps for parts.Logs, which is made usable if it is nil.
func newFollower(parts *Parts, log *slog.Logger) (*applog.Follower, error) {
	if parts.Logs == nil {
		parts.Logs = applog.Discard
		return nil, nil
	}
	return applog.NewFollower(applog.FollowerConfig{LinesPerSecond: parts.LogLines, Logger: log}, parts.Logs)
}

// tell sends a line about an instance to where the lines of its app go.
func (d *DEA) tell(i *instance.Instance, stream applog.Stream, text string) {
	line := i.Line()
	line.Stream, line.Text = stream, text
	d.parts.Logs.Emit(line)
}

// tellChange says what an instance has become. Of a crash it tells after the app's own last words.
func (d *DEA) tellChange(c instance.Change) {
	i, s := c.Instance, c.Status
	if (s.State == messaging.Crashed) != (c.From == s.State) {
		return
	}
	switch s.State {
	case messaging.Born: // not of those that are taken up again
		d.tell(i, applog.Stdout, applog.StartingInstance(i.App(), i.Index()))
	case messaging.Stopping:
		d.tell(i, applog.Stdout, applog.StoppingInstance(i.App(), i.Index()))
	case messaging.Stopped:
		d.tell(i, applog.Stdout, applog.StoppedInstance(i.App(), i.Index()))
	case messaging.Crashed:
		if missing := new(instance.RuntimeError); errors.As(s.StartError, &missing) {
			d.tell(i, applog.Stderr, fmt.Sprintf("App instance (index %d) cannot start: %v", i.Index(), missing))
		}
		if s.ExitDescription == instance.Unhealthy {
			d.tell(i, applog.Stderr, applog.NotAccepting(i.Index()))
		}
		d.tell(i, applog.Stderr, applog.CrashedInstance(i.Index(), s.ExitStatus, reason(i, s)))
	}
}

// reason is the exit description, with the limit that was exceeded: that is what people ask next.
func reason(i *instance.Instance, s instance.Status) string {
	if s.ExitDescription == container.EventOutOfMemory {
		return fmt.Sprintf("%s, the limit is %d MB", s.ExitDescription, i.Message().Limits.Mem)
	}
	return s.ExitDescription
}
