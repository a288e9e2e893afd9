package main

import (
	"context"
	"crypto/sha1" //nolint:gosec // what start messages have
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// version is that of the app; there is only this one.
const version = "1"

// errNoDEA: none has room, or none is there.
var errNoDEA = errors.New("no DEA has offered to run the app; start examples/dea on the same NATS server, or ask for less --memory")

// An execution is an app that a DEA runs as long as this program does.
type execution struct {
	cli    *cli
	conn   *nats.Conn
	start  messaging.StartMessage
	stdout io.Writer

	offers chan messaging.Advertisement
	routes chan messaging.Route
	exits  chan messaging.Exit
}

// execute has a DEA run the droplet, says where it answers, and has it stopped when ctx ends. It fails when the app ends before.
func (c *cli) execute(ctx context.Context, conn *nats.Conn, e *endpoints, properties json.RawMessage, stdout io.Writer) error {
	start, err := c.startMessage(e, properties)
	if err != nil {
		return err
	}
	x := &execution{
		cli: c, conn: conn, start: start, stdout: stdout,
		offers: make(chan messaging.Advertisement, 1), routes: make(chan messaging.Route, 1), exits: make(chan messaging.Exit, 1),
	}
	inbox := messaging.NewInbox(conn, nil)
	defer inbox.Close()
	if err := x.listen(inbox); err != nil {
		return err
	}
	listening, end := context.WithCancel(context.WithoutCancel(ctx))
	listened := make(chan error, 1)
	go func() { listened <- inbox.Run(listening) }()
	err = x.run(ctx)
	end()
	return errors.Join(err, <-listened)
}

// startMessage is what a Cloud Controller of that time tells a DEA.
func (c *cli) startMessage(e *endpoints, properties json.RawMessage) (messaging.StartMessage, error) {
	var told struct {
		RuntimeInfo json.RawMessage    `json:"runtime_info"`
		Runtime     json.RawMessage    `json:"runtime"`
		Services    messaging.Services `json:"services"`
	}
	if err := json.Unmarshal(properties, &told); err != nil {
		return messaging.StartMessage{}, fmt.Errorf("--run: properties of the app: %w", err)
	}
	if told.Services == nil {
		told.Services = messaging.Services{}
	}
	digest, err := sha1Of(c.Output)
	return messaging.StartMessage{
		Droplet: messaging.Text(c.ID), Name: c.ID, Version: version, CCPartition: "default", URIs: []string{c.ID + ".localhost"},
		Limits: messaging.Limits{Mem: int64(c.Memory), Disk: int64(c.Disk), FDs: int64(c.FDs)},
		SHA1:   digest, ExecutableURI: e.dropletURI(), Env: c.Env, Services: told.Services,
		RuntimeInfo: told.RuntimeInfo, Runtime: told.Runtime,
	}, err
}

func sha1Of(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha1.New() //nolint:gosec // what start messages have
	_, err = io.Copy(hash, file)
	return hex.EncodeToString(hash.Sum(nil)), err
}

// listen takes the first of each kind that is about the app.
func (x *execution) listen(inbox *messaging.Inbox) error {
	return errors.Join(
		messaging.Handle(inbox, messaging.DEAAdvertise, func(_ context.Context, m messaging.Advertisement) {
			if int64(m.AvailableMemory) >= x.start.Limits.Mem {
				first(x.offers, m)
			}
		}),
		messaging.Handle(inbox, messaging.RouterRegister, func(_ context.Context, m messaging.Route) {
			if m.App == x.cli.ID {
				first(x.routes, m)
			}
		}),
		messaging.Handle(inbox, messaging.DropletExited, func(_ context.Context, m messaging.Exit) {
			if string(m.Droplet) == x.cli.ID {
				first(x.exits, m)
			}
		}),
	)
}

// first keeps a message unless there is one already.
func first[T any](in chan T, message T) {
	select {
	case in <- message:
	default:
	}
}

func (x *execution) run(ctx context.Context) error {
	waiting, cancel := context.WithTimeoutCause(ctx, x.cli.Timeout, errNoDEA)
	defer cancel()
	if err := messaging.DEALocate.Publish(x.conn, messaging.Signal{}); err != nil {
		return err
	}
	var dea messaging.Advertisement
	select {
	case dea = <-x.offers:
	case <-waiting.Done():
		return over(ctx, waiting)
	}
	if err := messaging.DEAStart(dea.ID).Publish(x.conn, x.start); err != nil {
		return err
	}
	err := x.watch(ctx)
	stop := messaging.StopMessage{Filter: messaging.Filter{Droplet: messaging.Text(x.cli.ID)}}
	return errors.Join(err, messaging.DEAStop.Publish(x.conn, stop), x.conn.Flush())
}

// watch says where the app answers, and waits until ctx or the app ends.
func (x *execution) watch(ctx context.Context) error {
	waiting, cancel := context.WithTimeoutCause(ctx, x.cli.Timeout, late(x.cli.Timeout))
	defer cancel()
	select {
	case route := <-x.routes:
		fmt.Fprintf(x.stdout, "The app is up  http://%s:%d/\n", route.Host, route.Port)
	case exit := <-x.exits:
		return ended(exit)
	case <-waiting.Done():
		return over(ctx, waiting)
	}
	select {
	case <-ctx.Done():
		return nil
	case exit := <-x.exits:
		return ended(exit)
	}
}

func ended(exit messaging.Exit) error {
	return fmt.Errorf("the app has ended with status %d: %s", exit.ExitStatus, exit.ExitDescription)
}

// over is why nothing came: nothing is wrong where the whole program ends.
func over(ctx, waiting context.Context) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // as told
	}
	return context.Cause(waiting)
}

// droplet serves what has been kept.
func (e *endpoints) droplet(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, e.output) }

func (e *endpoints) dropletURI() string { return e.uri("droplets", e.id) }
