// Command warden is a container server: it takes Warden's own configuration file and speaks its protocol.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/commandline"
)

// The exit codes of the program, listed in its help.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const description = `A container server that speaks Warden's protocol, for a DEA or any other client.

The configuration is that of Warden; examples/warden/warden.yml shows every key.

Signals:
  USR2, TERM, INT, QUIT  answer what is asked, end, and leave the containers to the next start; a second one ends at once
  HUP                    open the log file again

Exit codes:
  0  ended as told
  1  the configuration is wrong, or something failed; standard error says what
  2  the command line makes no sense`

type cli struct {
	Config  string `arg:"" name:"CONFIG.yml" help:"Configuration file."`
	Backend string `help:"What containers are: ${enum}. auto takes the strongest that works here." enum:"${backends}" default:"auto"`
	Destroy bool   `help:"Destroy all containers in the end instead of leaving them to the next start."`
	Check   bool   `help:"Check the configuration, tell what is wrong or odd with it, and end."`
}

func main() {
	backends.Begin()
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var c cli
	p := commandline.Program{Name: "warden", Description: description}
	command, code := p.Parse(&c, args, kong.Vars{"backends": strings.Join(backends.Names(), ",")})
	if command == nil {
		return code
	}
	if err := c.run(); err != nil {
		fmt.Fprintln(os.Stderr, "warden:", err)
		return exitFailed
	}
	return exitOK
}

// run is all that comes after the command line.
func (c *cli) run() error {
	cfg, warnings, err := load(c.Config)
	if err != nil {
		return err
	}
	if c.Check {
		for _, w := range warnings {
			fmt.Println("warning:", w)
		}
		fmt.Printf("%s is fine, with %d warnings.\n", c.Config, len(warnings))
		return nil
	}
	if err := backends.Enter(context.Background(), c.Backend, cfg.containers(nil)); err != nil {
		return err
	}
	return c.serve(cfg, warnings)
}
