// Command dea is a droplet execution agent: it takes dea_ng's own configuration file, and needs nothing else but NATS.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/commandline"
)

// The exit codes of the program, listed in its help.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const description = `A droplet execution agent (DEA): runs and stages apps as a Cloud Controller tells it over NATS.

The configuration is that of dea_ng; examples/dea/dea.yml shows every key.

Signals:
  TERM, INT, QUIT  stop all instances and end; a second one ends at once and leaves them to the next start
  USR1             take part in no more placements; everything else goes on
  USR2             evacuate: have all instances replaced elsewhere, then end
  HUP              open the log file again

After kill -9 the next start takes up the apps that still run. A service manager must not end them together with the DEA:
systemd needs KillMode=process.

Exit codes:
  0  ended as told
  1  the configuration is wrong, something failed, or (--doctor) the back end does not work; standard error says what
  2  the command line makes no sense`

type cli struct {
	Conf    string `hidden:"" help:"Configuration file, as the directory server takes it."`
	Config  string `arg:"" optional:"" name:"CONFIG.yml" help:"Configuration file; -conf FILE is understood too. The doctor needs none."`
	Backend string `help:"What apps run in: ${enum}. auto takes the server at warden_socket or deakit.garden_socket, else the strongest that works here; warden and garden are those servers." enum:"${backends}" default:"auto"`
	Check   bool   `help:"Check the configuration, tell what is wrong or odd with it, and end."`
	Doctor  bool   `help:"Tell what this machine has and lacks for each back end, and which would be taken, and end."`

	NoDirectoryServer bool `help:"Open the file API only, and leave directory_server.v2_port to a directory server in a process of its own: examples/directoryserver, or the original."`
}

func main() {
	backends.Begin()
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var c cli
	p := commandline.Program{Name: "dea", Description: description}
	all := append(backends.Names(), backends.Warden, backends.Garden)
	command, code := p.Parse(&c, withTwoDashes(args), kong.Vars{"backends": strings.Join(all, ",")})
	if command == nil {
		return code
	}
	if err := c.run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}

// Validate checks what kong cannot know.
func (c *cli) Validate() error {
	if c.Conf != "" && c.Config != "" {
		return fmt.Errorf("give one configuration file: %s or %s", c.Config, c.Conf)
	}
	c.Config = cmp.Or(c.Config, c.Conf)
	if c.Config == "" && !c.Doctor {
		return errors.New("expected \"<CONFIG.yml>\"")
	}
	return nil
}

// withTwoDashes turns the "-conf" of the original directory server into "--conf".
func withTwoDashes(args []string) []string {
	var plain []string
	for _, arg := range args {
		if arg == "-conf" || strings.HasPrefix(arg, "-conf=") {
			arg = "-" + arg
		}
		plain = append(plain, arg)
	}
	return plain
}

// run is all that comes after the command line.
func (c *cli) run() error {
	if c.Doctor {
		return c.examine()
	}
	cfg, warnings, err := config.Load(c.Config)
	var unreadable *config.LoadError
	switch {
	case errors.As(err, &unreadable):
		return fmt.Errorf("ERROR: %w", err)
	case err != nil || c.Check:
		odd := oddities(cfg, warnings)
		for _, text := range odd {
			fmt.Fprintln(os.Stderr, "warning:", text)
		}
		if err == nil {
			fmt.Printf("%s can be used; warnings: %d\n", c.Config, len(odd))
		}
		return err
	}
	if err := backends.Enter(context.Background(), c.Backend, containers(cfg, c.Config, "", nil)); err != nil {
		return fmt.Errorf("dea: %w", err)
	}
	l, err := openLog(c.Config, cfg)
	if err != nil {
		return fmt.Errorf("dea: %w", err)
	}
	defer l.close()
	for _, text := range oddities(cfg, warnings) {
		l.Warn("config.warning", "warning", text)
	}
	err = c.work(cfg, l)
	if err != nil {
		l.Error("dea.failed", "error", err)
	}
	return err
}

// examine tells what works on this machine, and what would be taken.
func (c *cli) examine() error {
	cfg := &config.Config{BaseDir: os.TempDir()} // not a directory in it, which another user could have made
	if c.Config != "" {
		var err error
		if cfg, _, err = config.Load(c.Config); err != nil {
			return err
		}
	}
	base, err := filepath.Abs(cfg.BaseDir)
	if err != nil {
		return fmt.Errorf("dea: %w", err)
	}
	cfg.BaseDir = base
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return backends.Doctor(ctx, os.Stdout, c.Backend, containers(cfg, c.Config, "", nil))
}

// work runs a node until it is told to end.
func (c *cli) work(cfg *config.Config, l *log) (err error) {
	kept := keepSignals()
	pid, err := claim(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pid.Remove()) }()
	n, err := open(cfg, c, l)
	if err != nil {
		return fmt.Errorf("dea: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	stop := n.obeySignals(kept, end)
	defer stop()
	return n.run(ctx)
}
