package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// alive are the states of instances that have not ended.
var alive = messaging.Names{messaging.Born, messaging.Resuming, messaging.Starting, messaging.Running, messaging.Evacuating, messaging.Stopping}

// stop stops all instances of an app, and returns when no DEA knows one that has not ended.
func (c *cli) stop(ctx context.Context, conn *nats.Conn, stderr io.Writer) error {
	app := messaging.Filter{Droplet: messaging.Text(c.Stop), States: alive}
	found, err := find(ctx, conn, messaging.FindMessage{Filter: app})
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case found.Instance == "":
		return fmt.Errorf("no DEA runs an app %q; what runs is in dea.heartbeat, which examples/tap shows", c.Stop)
	}
	if err := messaging.DEAStop.Publish(conn, messaging.StopMessage{Filter: messaging.Filter{Droplet: app.Droplet}}); err != nil {
		return err
	}
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for found.Instance != "" {
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("%s has not stopped yet, it is %s: %w", c.Stop, found.State, context.Cause(ctx))
		}
		if found, err = find(ctx, conn, messaging.FindMessage{Filter: app}); err != nil {
			return err
		}
	}
	if ctx.Err() != nil { // then silence says nothing
		return context.Cause(ctx)
	}
	_, err = fmt.Fprintf(stderr, "%s has stopped\n", c.Stop)
	return err
}
