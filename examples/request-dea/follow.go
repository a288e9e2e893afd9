package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// An endedError says that the instance ended before it ran.
type endedError struct {
	messaging.Exit
	log string // its last lines, or why there are none
}

func (e *endedError) Error() string {
	text := fmt.Sprintf("the app ended while it was started: exit status %d", e.ExitStatus)
	if e.ExitDescription != "" {
		text += ": " + e.ExitDescription
	}
	return text + "\n" + e.log
}

// A watch knows what the DEA says of one instance.
type watch struct {
	conn    *nats.Conn
	message messaging.StartMessage
	exits   chan *nats.Msg
	beats   chan *nats.Msg // heartbeats: a DEA sends one when an instance has come up
}

// follow sends the start message, and returns when the instance runs, with its address on stdout. If it does not come to that, the
// instance is stopped.
func (c *cli) follow(ctx context.Context, conn *nats.Conn, dea string, m messaging.StartMessage, stdout, stderr io.Writer) error {
	w := &watch{conn: conn, message: m, exits: make(chan *nats.Msg, 1024), beats: make(chan *nats.Msg, 1024)}
	for subject, to := range map[string]chan *nats.Msg{string(messaging.DropletExited): w.exits, string(messaging.DEAHeartbeat): w.beats} {
		sub, err := conn.ChanSubscribe(subject, to)
		if err != nil {
			return fmt.Errorf("listen to %s: %w", subject, err)
		}
		defer func() { _ = sub.Unsubscribe() }() // it fails on a closed connection only
	}
	if err := messaging.DEAStart(dea).Publish(conn, m); err != nil {
		return err
	}
	found, err := w.untilRunning(ctx, stderr)
	if err == nil {
		return address(found, stdout)
	}
	var ended *endedError
	if errors.As(err, &ended) {
		ended.log = w.logTail(context.WithoutCancel(ctx))
		return err
	}
	stop := messaging.DEAStop.Publish(conn, messaging.StopMessage{Filter: w.filter()})
	return errors.Join(err, stop, conn.FlushTimeout(silence))
}

// filter selects the instance, which is the only one of its version.
func (w *watch) filter() messaging.Filter {
	return messaging.Filter{Droplet: w.message.Droplet, Version: &w.message.Version}
}

// untilRunning tells each state of the instance, which is to start, and returns what is known of it when it runs.
func (w *watch) untilRunning(ctx context.Context, stderr io.Writer) (messaging.FoundInstance, error) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	last := messaging.Starting
	fmt.Fprintln(stderr, "state   ", last)
	for {
		found, err := find(ctx, w.conn, messaging.FindMessage{Filter: w.filter(), IncludeStats: true})
		if err != nil {
			return found, err
		}
		if found.State != last && found.State != "" && found.State != messaging.Born { // which is over soon
			fmt.Fprintln(stderr, "state   ", found.State)
			last = found.State
		}
		if found.State == messaging.Running {
			return found, nil
		}
		select {
		case msg := <-w.exits:
			if exit, err := messaging.DropletExited.Decode(msg.Data); err == nil && w.isOurs(exit) {
				return found, &endedError{Exit: exit}
			}
		case <-w.beats:
		case <-look.C:
		case <-ctx.Done():
			return found, fmt.Errorf("the app does not run yet: %w", context.Cause(ctx))
		}
	}
}

func (w *watch) isOurs(exit messaging.Exit) bool {
	return exit.Droplet == w.message.Droplet && exit.Version == w.message.Version
}

// find returns the first instance that a DEA knows. It is empty where they are silent, because they know none, or not
// yet, and where there is no DEA.
func find(ctx context.Context, conn *nats.Conn, m messaging.FindMessage) (messaging.FoundInstance, error) {
	asking, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	for found, err := range messaging.DEAFindDroplet.AskAll(asking, conn, m) {
		if errors.Is(err, nats.ErrNoResponders) {
			break
		}
		return found, err
	}
	return messaging.FoundInstance{}, nil
}

// address prints where a running instance is reached.
func address(found messaging.FoundInstance, stdout io.Writer) error {
	if found.Stats == nil || found.Stats.Port == nil {
		return errors.New("the app runs, and the DEA does not say where")
	}
	host := net.JoinHostPort(found.Stats.Host, strconv.Itoa(int(*found.Stats.Port)))
	_, err := fmt.Fprintf(stdout, "http://%s/\n", host)
	return err
}
