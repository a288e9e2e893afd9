// Command stager is the stager of the time before there were buildpacks: it takes vcap_stager's own configuration file, and
// needs nothing else but NATS.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/commandline"
	"github.com/deakit/deakit/internal/pidfile"
	"github.com/deakit/deakit/logging"
)

// The exit codes of the program, listed in its help.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const description = `A stager: takes zipped apps from a queue on NATS, has framework plugins make droplets of them, and posts these.

The configuration is that of vcap_stager; examples/stager/config/stager.yml shows every key, and is what counts where no file
is named. examples/request-stager is a client.

Signals:
  TERM, INT, USR2  take no more requests, finish and answer those that are here, and end; a second one gives these up and
                   answers them, a third one ends at once
  HUP              open the log file again

Exit codes:
  0  ended as told
  1  the configuration is wrong, another stager holds the pid file, or something failed; the output says what
  2  the command line makes no sense

Variables:
  CLOUD_FOUNDRY_CONFIG_PATH  directory of stager.yml, where --config is absent
  PLATFORM_CONFIG            file whose cache is the directory of blessed_gems`

type cli struct {
	Config        string `short:"c" placeholder:"FILE" help:"Configuration file."`
	SleepInterval string `short:"s" placeholder:"N" help:"Accepted, and without effect."`
	Check         bool   `help:"Check the configuration and end."`
}

func main() {
	backends.Begin()
	os.Exit(run(os.Args[1:], os.Stdout))
}

func run(args []string, stdout io.Writer) int {
	var c cli
	p := commandline.Program{Name: "stager", Description: description, Stdout: stdout}
	command, code := p.Parse(&c, args)
	if command == nil {
		return code
	}
	if err := c.run(stdout); err != nil {
		fmt.Fprintln(stdout, err) // where the original has it
		return exitFailed
	}
	return exitOK
}

// file is the configuration file; "" is the sample.
func (c *cli) file() string {
	if dir := os.Getenv("CLOUD_FOUNDRY_CONFIG_PATH"); c.Config == "" && dir != "" {
		return filepath.Join(dir, "stager.yml")
	}
	return c.Config
}

// run is all that comes after the command line.
func (c *cli) run(stdout io.Writer) (err error) {
	cfg, err := load(c.file())
	if err != nil {
		return err
	}
	if c.Check {
		fmt.Fprintln(stdout, "The configuration can be used.")
		return nil
	}
	where, err := cfg.containers(c.file())
	if err != nil {
		return fmt.Errorf("ERROR: deakit.containers: %w", err)
	}
	if err := backends.Enter(context.Background(), cfg.backend(), where); err != nil {
		return fmt.Errorf("ERROR: back end: %w", err)
	}
	kept := keepSignals()
	pid, err := claim(*cfg.PIDFilename)
	if err != nil {
		return fmt.Errorf("ERROR: Can't create stager pid file %s: %w", *cfg.PIDFilename, err)
	}
	defer func() { err = errors.Join(err, pid.Remove()) }()
	var counts component.LogCounts
	log, output, err := logging.New(cfg.log(stdout))
	if err != nil {
		return fmt.Errorf("ERROR: %w", err)
	}
	defer func() { err = errors.Join(err, output.Close()) }()
	n, err := open(cfg, where, log, &counts)
	if err != nil {
		return fmt.Errorf("ERROR: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	stop := obeySignals(kept, end, n.queue.Abort, func() {
		if err := output.Reopen(); err != nil {
			n.log.Error("log.reopen.failed", "error", err)
		}
	})
	defer stop()
	if err := n.run(ctx); err != nil {
		n.log.Error("stager.failed", "error", err)
		return fmt.Errorf("ERROR: %w", err)
	}
	return nil
}

// claim writes the pid file, whose directory is made.
func claim(name string) (*pidfile.File, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	return pidfile.Create(name)
}
