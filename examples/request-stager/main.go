// Command request-stager asks a stager to stage an app: it zips a directory, serves the zip file, and takes the droplet, in
// place of a Cloud Controller.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/deakit/deakit/examples/internal/commandline"
	"github.com/deakit/deakit/examples/internal/envflag"
	"github.com/deakit/deakit/examples/internal/standin"
)

// The exit codes of the program, listed in its help.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitStaging = 3
	exitTimeout = 4
)

const description = `Asks a stager (examples/stager, or a vcap_stager) on NATS to stage an app, and saves the droplet.

It is a Cloud Controller for the length of one request: the stager downloads the zipped app from it, and posts the droplet to
it. So the stager must reach the address of --listen, or what --url says in its place.

Exit codes:
  0  staged; the droplet is saved
  1  something failed before; standard error says what
  2  the command line makes no sense
  3  the stager answers that staging failed
  4  the stager did not answer in time`

type cli struct {
	App        string        `arg:"" optional:"" default:"examples/apps/sinatra" help:"Directory or zip file of the app (${default})."`
	Output     string        `short:"o" placeholder:"FILE" default:"droplet.tgz" help:"File for the droplet (${default})."`
	NATS       string        `name:"nats" placeholder:"URL" default:"nats://127.0.0.1:4222" env:"NATS_URL" help:"NATS server (${default})."`
	Queue      string        `default:"staging" help:"Queue of the stager (${default})."`
	Old        bool          `help:"Ask as it was done before 2012-05-02: on vcap.stager.<queue>."`
	ID         string        `name:"id" default:"my-app" help:"Id of the app (${default})."`
	Framework  string        `help:"Framework of the app; else what it shows."`
	Runtime    string        `help:"Runtime of the app; else the default of the framework."`
	Command    string        `help:"Start command, for the framework standalone."`
	Env        []string      `short:"e" sep:"none" placeholder:"NAME=VALUE" help:"Variable of the app, or with the name alone one of this program that is passed on; may be repeated."`
	Memory     int           `default:"256" help:"Memory of the app in MB (${default})."`
	Disk       int           `default:"256" help:"Disk of the app in MB (${default})."`
	FDs        int           `name:"fds" default:"1024" help:"Open files of the app (${default})."`
	Properties string        `placeholder:"FILE" help:"Take all that is told of the app from a file, in YAML or JSON: properties, or a configuration file of a plugin."`
	Listen     string        `placeholder:"HOST:PORT" default:"127.0.0.1:0" help:"Where the app is served and the droplet is taken; port 0 is any (${default})."`
	URL        string        `name:"url" placeholder:"URL" help:"How the stager reaches that."`
	Timeout    time.Duration `default:"120s" help:"How long to wait for NATS, and then for the answer (${default})."`
	JSON       bool          `name:"json" help:"Print the answer of the stager as JSON, and nothing else."`
}

// Validate checks what kong cannot know.
func (c *cli) Validate() error {
	if c.Timeout <= 0 {
		return errors.New("--timeout must be more than 0")
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
	p := commandline.Program{Name: "request-stager", Description: description, Stdout: stdout, Stderr: stderr}
	command, code := p.Parse(&c, args)
	if command == nil {
		return code
	}
	err := c.run(ctx, stdout, stderr)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "request-stager:", err)
	var failed stagingError
	switch {
	case errors.As(err, &failed):
		return exitStaging
	case errors.Is(err, errTimeout) && !errors.Is(err, standin.ErrNoServer):
		return exitTimeout
	}
	return exitFailed
}
