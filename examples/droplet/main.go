// Command droplet turns source into droplets and runs them, with no daemon and no root: "droplet stage" lets buildpacks
// make a droplet of a directory, "droplet run" starts one, and the other commands look into droplets and turn them into
// images and back.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/commandline"
)

const description = `Turns source into droplets with buildpacks, and runs them: no daemon, no root.

A droplet is an archive of an app with all that its buildpacks made of it. Results go to standard output, all else to standard error.

` + exitCodes

type cli struct {
	JSON    bool `name:"json" help:"Write the result as JSON, an error too."`
	Quiet   bool `short:"q" help:"Show neither log nor progress."`
	Verbose bool `short:"v" help:"Write the log of all parts to standard error."`
	NoColor bool `help:"Never use colours. The variable NO_COLOR, with any value, does the same."`

	Stage   stageCmd   `cmd:"" help:"Make a droplet of source."`
	Run     runCmd     `cmd:"" help:"Run a droplet until it or a signal ends it."`
	Inspect inspectCmd `cmd:"" help:"Tell what a droplet is, without unpacking it."`
	Verify  verifyCmd  `cmd:"" help:"Check that a droplet is whole, what it should be, and harms nobody."`
	Repack  repackCmd  `cmd:"" help:"Write a droplet anew, in another compression for example."`
	Export  exportCmd  `cmd:"" help:"Make an image of a droplet."`
	Import  importCmd  `cmd:"" help:"Make a droplet of an image."`
	Doctor  doctorCmd  `cmd:"" help:"Tell what this machine has and lacks for each back end."`
}

// endOfLine is how the parser tells of a flag without its value.
var endOfLine = regexp.MustCompile(`expected .* value but got "EOL" \(<EOL>\)`)

// misuse says what is wrong with a command line, without that.
func misuse(err error) string {
	return endOfLine.ReplaceAllString(err.Error(), "give a value") + "; try --help"
}

func main() {
	backends.Begin()
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var c cli
	p := commandline.Program{Name: "droplet", Description: description, Misuse: misuse}
	command, code := p.Parse(&c, args, kong.Vars{
		"backends": strings.Join(backends.Names(), ","), "samples": strings.Join(sampleNames(), ", "),
	})
	if command == nil {
		return code
	}
	// SIGPIPE, because nobody reads on: what was begun has to be cleaned up then, too. Nor does it count as a second signal:
	// as long as somebody is notified of it, it does not end the process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	e := &env{ctx: ctx, json: c.JSON, screen: newScreen(os.Stderr, c.Quiet, c.NoColor), out: os.Stdout, log: c.logger()}
	err := command.Run(e)
	e.screen.close()
	return e.end(err)
}

// logger is that of the parts, which people seldom want to read.
func (c *cli) logger() *slog.Logger {
	if !c.Verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// env is what every command gets.
type env struct {
	ctx    context.Context // ends with the first signal
	json   bool
	lines  bool     // JSON comes in lines
	screen *screen  // for people, on standard error
	out    *os.File // for results
	log    *slog.Logger
}
