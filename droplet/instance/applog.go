package instance

import (
	"context"
	"errors"
	"time"

	"github.com/deakit/deakit/applog"
)

// lastLines is how long the end of an app's log may take to be read.
const lastLines = 5 * time.Second

// followLog sends on what the app writes from now on, until its container is taken down; fromEnd leaves out what it wrote
// before, which an earlier process has sent. An app whose log cannot be followed runs all the same.
func (l *life) followLog(fromEnd bool) {
	if l.parts.Logs == nil {
		return
	}
	drains := l.message.Services.DrainURLs()
	tail, err := l.parts.Logs.Follow(applog.Log{
		Root: l.Status().Container.HostRoot, FromEnd: fromEnd,
		Origin: func() applog.Line {
			return applog.Line{App: l.App(), Instance: l.Status().ID, Index: l.Index(), Source: applog.App, Drains: drains}
		},
	})
	if err != nil {
		l.log.Warn("droplet.log.not-followed", "error", err)
		return
	}
	// It runs before the container is destroyed. What could not be read then cannot be read later either.
	l.undo.push("follow log", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, lastLines)
		defer cancel()
		if err := tail.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
			l.log.Warn("droplet.log.cut-off", "error", err)
		}
		return nil
	})
}

// Line returns a line of the DEA about the instance, without its text.
func (i *Instance) Line() applog.Line {
	return applog.Line{
		App: i.App(), Instance: i.Status().ID, Index: i.Index(), Source: applog.DEA, Stream: applog.Stdout,
		Drains: i.message.Services.DrainURLs(),
	}
}
