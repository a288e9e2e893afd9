package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/heartbeat"
)

// watch is the health monitor for people.
type watch struct {
	IDs     []string      `arg:"" optional:"" name:"id" help:"Agents that should be there: they are lost too when they are never heard, and others are rogue after two minutes. Not with --agent, which is expected; default: all that are heard."`
	Silence time.Duration `default:"60s" placeholder:"TIME" help:"After how long without a heartbeat an agent is lost (${default})."`
	Changes bool          `help:"Leave out heartbeats that tell no other job state or number of processes than those before."`
}

// listen goes on until it is interrupted.
func (w *watch) listen(ctx context.Context, c *cli) error {
	mbus, id, caFile, err := c.where()
	if err != nil {
		return err
	}
	if err := transport.CheckBus(mbus); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if strings.HasPrefix(mbus, "https:") {
		return fmt.Errorf("%w: agents tell the health monitor over NATS only, and this one is at %s; name its server, as in -m nats://10.0.0.6:4222", errUsage, "https://"+transport.BusHosts(mbus))
	}
	if id != "" && len(w.IDs) > 0 {
		return fmt.Errorf("%w: this listens to %s only, so no others can be expected; -m with the URL of the server, without --dev and --agent, listens to all", errUsage, id)
	}
	ca, err := c.authority(caFile)
	if err != nil {
		return err
	}
	monitor := heartbeat.NewAgentMonitor(heartbeat.AgentMonitorConfig{Timeout: w.Silence})
	if expected := w.expected(id); expected != nil {
		monitor.Manage(expected, time.Now())
	}
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	conn, err := c.dialNATS(ctx, mbus, ca, log)
	if err != nil {
		return err
	}
	level.Set(slog.LevelInfo) // that the server is back is worth as much as that it is away
	defer leave(conn)
	ctx, end := context.WithCancel(ctx)
	defer end()
	var printing error
	receiver, err := heartbeat.NewAgentReceiver(conn, heartbeat.AgentReceiverConfig{
		Monitor: monitor, Agent: id, Logger: log,
		Observe: func(event heartbeat.AgentEvent) {
			if err := w.print(c, event); err != nil {
				printing = fmt.Errorf("standard output: %w", err)
				end()
			}
		},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if !c.Quiet {
		fmt.Fprintf(os.Stderr, "listening to %s at %s; an interrupt ends it\n", cmp.Or(id, "all agents"), transport.BusHosts(mbus))
	}
	err = receiver.Run(ctx)
	return cmp.Or(err, printing)
}

func (w *watch) expected(id string) []string {
	if len(w.IDs) == 0 && id != "" {
		return []string{id}
	}
	return w.IDs
}

func (w *watch) print(c *cli, event heartbeat.AgentEvent) error {
	if beat, ok := event.(heartbeat.AgentBeat); ok && w.Changes && !changed(beat) {
		return nil
	}
	now := time.Now()
	if c.JSON {
		return printJSON(c.out, now, event)
	}
	name, text := describe(event)
	_, err := fmt.Fprintln(c.out, printable(fmt.Sprintf("%s  %-6s  %s  %s", now.Format(time.TimeOnly), name, event.Status().ID, text)))
	return err
}

// changed tells whether a heartbeat is worth being told to people who know the one before.
func changed(beat heartbeat.AgentBeat) bool {
	before, now := beat.Before.Beat, beat.Beat
	return beat.Before.Seen.IsZero() || beat.Before.Life == heartbeat.Lost || before.JobState != now.JobState ||
		count(before.Processes) != count(now.Processes)
}
