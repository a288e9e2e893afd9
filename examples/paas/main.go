// Command paas is a small platform on one machine: "paas demo" takes an app through its whole life, "paas serve" keeps
// a platform running, and the other commands talk to a served one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/commandline"
	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/staging/framework"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// The exit codes of the program, listed in its help.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitStaging  = 3
	exitRollout  = 4
	exitPlatform = 5
	exitSignal   = 130
)

const description = `A small platform on one machine, made of the parts of deakit.

Exit codes:
  0    all went well
  1    something failed; standard error says what
  2    the command line makes no sense
  3    the app could not be staged
  4    the app was staged, but did not come up; what ran before still runs
  5    no platform listens at the given address
  130  ended by a signal`

type cli struct {
	API     string `help:"URL of a served platform. Default: http://127.0.0.1:8090." default:"http://127.0.0.1:8090" env:"PAAS_API" placeholder:"URL"`
	JSON    bool   `name:"json" help:"Write JSON instead of text, where there is something to write."`
	NoColor bool   `help:"Never use colours. The variable NO_COLOR, with any value, does the same."`

	Demo     demoCmd     `cmd:"" help:"Start a platform, take an app through its whole life on it, and stop."`
	Serve    serveCmd    `cmd:"" help:"Run a platform until a signal comes."`
	Push     pushCmd     `cmd:"" help:"Stage a directory and run it; a second push of the same app rolls out a new version."`
	Apps     appsCmd     `cmd:"" help:"List the apps."`
	App      appCmd      `cmd:"" help:"Show one app and its instances."`
	DEAs     deasCmd     `cmd:"" name:"deas" help:"List the DEAs."`
	Scale    scaleCmd    `cmd:"" help:"Set the number of instances of an app."`
	Logs     logsCmd     `cmd:"" help:"Show the newest lines of the log of an app."`
	Files    filesCmd    `cmd:"" help:"List a directory of an instance, or show a file."`
	Start    startCmd    `cmd:"" help:"Start a stopped app."`
	Stop     stopCmd     `cmd:"" help:"Stop an app; it stays known."`
	Delete   deleteCmd   `cmd:"" help:"Stop an app and forget it."`
	Evacuate evacuateCmd `cmd:"" help:"Empty a DEA and end it, without its apps noticing."`
	Events   eventsCmd   `cmd:"" help:"Show what happened."`
	Doctor   doctorCmd   `cmd:"" help:"Tell what this machine has and lacks for each back end."`
}

func main() {
	backends.Begin()
	os.Exit(run(os.Args[1:]))
}

// frameworkNames lists what an app can be staged by, other than a buildpack alone.
func frameworkNames() string {
	var names []string
	for _, plugin := range framework.Plugins() {
		names = append(names, plugin.Name())
	}
	return strings.Join(append(names, framework.BuildpackName), ", ")
}

func run(args []string) int {
	var c cli
	p := commandline.Program{Name: "paas", Description: description}
	command, code := p.Parse(&c, args, kong.Vars{
		"backends": strings.Join(backends.Names(), ","), "frameworks": frameworkNames(),
		"runtimes": strings.Join(runtimes.Today().Names(false), ", "),
	})
	if command == nil {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := command.Run(&env{ctx: ctx, cli: &c, screen: newScreen(os.Stdout, c.NoColor)})
	return exitCode(ctx, err)
}

// env is what every command gets.
type env struct {
	ctx    context.Context
	cli    *cli
	screen *screen
}

// dial reaches the served platform.
func (e *env) dial() (*client.Client, error) {
	c, err := client.Dial(e.ctx, e.cli.API)
	if err != nil {
		return nil, &platformError{err}
	}
	return c, nil
}

// A platformError tells that there is no platform to talk to.
type platformError struct{ error }

func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "paas: ended by a signal")
		return exitSignal
	}
	fmt.Fprintln(os.Stderr, "paas:", err)
	var push *client.PushError
	var platform *platformError
	switch {
	case errors.As(err, &push) && push.Kind == "staging":
		return exitStaging
	case errors.As(err, &push):
		if push.Instance != "" {
			fmt.Fprintln(os.Stderr, "paas: all that the app wrote: paas logs", push.App)
		}
		return exitRollout
	case errors.As(err, &platform):
		return exitPlatform
	default:
		return exitFailed
	}
}
