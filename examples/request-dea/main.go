// Command request-dea asks a DEA to run a droplet: it finds a DEA with room, serves the droplet to it, and follows the instance
// until it runs, in place of a Cloud Controller.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/examples/internal/commandline"
	"github.com/deakit/deakit/examples/internal/envflag"
	"github.com/deakit/deakit/examples/internal/standin"
)

// The exit codes of the program, listed in its help.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitCrashed = 3
	exitTimeout = 4
)

const description = `Asks a DEA (examples/dea, or a dea_ng) on NATS to run a droplet, and prints the address of the app; the rest goes to
standard error.

It is a Cloud Controller until the app runs: the DEA downloads the droplet from it. So the DEA must reach the address of
--listen, or what --url says in its place. Nobody starts the app again when it ends, and it runs until --stop, or the DEA's end.

Exit codes:
  0  the app runs, or (--stop) has stopped
  1  something failed before; standard error says what
  2  the command line makes no sense
  3  the app ended while it was started; standard error has the end of its log, where the DEA serves that
  4  the app did not run, or stop, in time`

type cli struct {
	Droplet string        `arg:"" optional:"" default:"droplet.tgz" help:"Droplet file (${default})."`
	Stop    string        `placeholder:"NAME" help:"Stop all instances of an app instead."`
	Name    string        `default:"my-app" help:"Name and id of the app (${default})."`
	NATS    string        `name:"nats" placeholder:"URL" default:"nats://127.0.0.1:4222" env:"NATS_URL" help:"NATS server (${default})."`
	Runtime string        `help:"Runtime of a droplet from before there were buildpacks; else the default of its framework."`
	URIs    []string      `name:"uri" sep:"none" placeholder:"HOST" help:"Route for routers; may be repeated. Default: NAME.localhost."`
	Env     []string      `short:"e" sep:"none" placeholder:"NAME=VALUE" help:"Variable of the app, or with the name alone one of this program that is passed on; may be repeated."`
	Memory  int64         `default:"256" help:"Memory of the app in MB (${default})."`
	Disk    int64         `default:"256" help:"Disk of the app in MB (${default})."`
	FDs     int64         `name:"fds" default:"1024" help:"Open files of the app (${default})."`
	Stack   string        `help:"Stack of the app; else any."`
	Listen  string        `placeholder:"HOST:PORT" default:"127.0.0.1:0" help:"Where the droplet is served; port 0 is any (${default})."`
	URL     string        `name:"url" placeholder:"URL" help:"How the DEA reaches that."`
	Timeout time.Duration `default:"120s" help:"How long all may take (${default})."`
}

// Validate checks what kong cannot know.
func (c *cli) Validate() error {
	switch {
	case c.Timeout <= 0:
		return errors.New("--timeout must be more than 0")
	case c.Memory < 0 || c.Disk < 0 || c.FDs < 0:
		return errors.New("--memory, --disk and --fds cannot be less than 0")
	case strings.TrimSpace(c.Name) == "":
		return errors.New("--name must not be empty")
	}
	var err error
	c.Env, err = envflag.Parse(c.Env)
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	p := commandline.Program{Name: "request-dea", Description: description, Stdout: stdout, Stderr: stderr}
	command, code := p.Parse(&c, args)
	if command == nil {
		return code
	}
	err := c.run(ctx, stdout, stderr)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "request-dea:", err)
	var ended *endedError
	switch {
	case errors.As(err, &ended):
		return exitCrashed
	case errors.Is(err, errTimeout) && !errors.Is(err, standin.ErrNoServer):
		return exitTimeout
	}
	return exitFailed
}

// errTimeout: what was waited for did not come within --timeout.
var errTimeout = errors.New("timed out")

// run is all that comes after the command line.
func (c *cli) run(ctx context.Context, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("%w after %v", errTimeout, c.Timeout))
	defer cancel()
	var d *servedDroplet
	if c.Stop == "" { // what is wrong with the droplet needs no bus
		var err error
		if d, err = openDroplet(ctx, c.Droplet); err != nil {
			return err
		}
		defer d.Close()
	}
	conn, err := standin.Connect(ctx, c.NATS, "request-dea")
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.Stop != "" {
		return c.stop(ctx, conn, stderr)
	}
	return c.start(ctx, conn, d, stdout, stderr)
}

// start has a DEA run the droplet. An app that this run of the program asked for and that does not come up is not left behind.
func (c *cli) start(ctx context.Context, conn *nats.Conn, d *servedDroplet, stdout, stderr io.Writer) (err error) {
	server, err := standin.Listen(c.Listen, c.URL)
	if err != nil {
		return err
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, d.handler(), c.Timeout) }()
	defer func() {
		end()
		err = errors.Join(err, <-served)
	}()
	dea, err := c.place(ctx, conn)
	if err != nil {
		return err
	}
	fmt.Fprintln(stderr, "DEA     ", dea)
	return c.follow(ctx, conn, dea, c.message(d, server), stdout, stderr)
}
