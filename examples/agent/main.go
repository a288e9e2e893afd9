// Command agent is a BOSH agent: it takes the command lines of bosh_agent and of bosh-agent, and agent.json.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/examples/internal/commandline"
	"github.com/deakit/deakit/examples/internal/signals"
)

// The exit codes of the program, listed in its help.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitShutdown = 3
)

const description = `A BOSH agent: does on its machine what a director or a command line tells it, over NATS or HTTPS.

Try it in a directory, without root:
  agent --dev /tmp/agent
  agentctl --dev /tmp/agent ping

Where the settings of the machine come from:
  -C agent.json       the sources that the file lists, as with bosh-agent
  -c -I aws           those of bosh_agent; -c alone takes vsphere
  neither             nowhere: -a, -n, -p and -s say it all
Options fill in what the settings do not say. Without -C and -c nothing outside of the base directory is written unless -r is
given, and no monit is run unless -M is. In no case are users, names, ephemeral disks or the disk of the system changed unless
--setup says so, and networks never are.

Of Platform.Linux in agent.json have no effect: ServiceManager (monit is a child of the agent), UseDefaultTmpDir (/tmp is left
alone), BindMountPersistentDisk, InstanceStorageManagedVolumePattern, InstanceStorageDevicePattern (raw ephemeral disks are left
alone) and UseMonitIptablesFirewall (there is no firewall). SkipDiskSetup and CreatePartitionIfNoEphemeralDisk count with
--setup disks.

-h is the heartbeat interval, as with bosh_agent; the help is --help.

Signals:
  TERM, INT, QUIT  take no more requests, answer those that are here, and end; a second one ends at once. Jobs under monit go on

Exit codes:
  0  ended by a signal, or to be started again with new settings, as an agent of --dev is at once, by itself
  1  the settings cannot be used, or something failed; standard error says what
  2  the command line makes no sense
  3  a director has shut the agent down: it is not to be started again`

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

func run(args []string, stdout io.Writer) int {
	var c cli
	p := commandline.Program{Name: "agent", Description: description, Stdout: stdout}
	command, code := p.Parse(&c, goFlags(args), kong.NoDefaultHelp())
	if command == nil {
		return code
	}
	if c.Version {
		fmt.Fprintln(stdout, commandline.Version())
		return exitOK
	}
	err := c.run(stdout)
	switch {
	case err == nil, errors.Is(err, node.ErrRestart):
		return exitOK
	case errors.Is(err, node.ErrShutdown):
		return exitShutdown
	}
	fmt.Fprintln(os.Stderr, "agent:", err)
	return exitFailed
}

// run is all that comes after the command line.
func (c *cli) run(stdout io.Writer) error {
	if err := c.checkSettings(); err != nil {
		return err
	}
	output, closeLog, err := c.logOutput()
	if err != nil {
		return err
	}
	defer closeLog()
	log := slog.New(slog.NewTextHandler(output, &slog.HandlerOptions{Level: c.level()}))
	cfg, err := c.config(log)
	if err != nil {
		return err
	}
	cfg.Logger = log
	cfg.Ready = func(at node.Place) { c.ready(stdout, at) }
	n, err := node.New(cfg)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	stop := signals.Keep(syscall.SIGHUP).Obey(signals.Orders{
		End:    []func(){end, func() { os.Exit(exitFailed) }},
		Others: map[os.Signal]func(){syscall.SIGHUP: func() {}}, // of a terminal that is closed: the agent goes on
	})
	defer stop()
	for {
		err := n.Run(ctx)
		if c.Dev == "" || !errors.Is(err, node.ErrRestart) || ctx.Err() != nil {
			return err
		}
		log.Info("agent.again", "reason", "nobody else starts the agent of a directory")
	}
}

// maxLog is the size in bytes from which on a start sets the log of an agent in a directory aside, in place of the one before.
const maxLog = 10 << 20

// logOutput is standard error; an agent in a directory also has a file there, of which "agentctl logs agent" makes an archive. On a
// machine that is up to whoever runs the agent.
func (c *cli) logOutput() (output io.Writer, end func(), err error) {
	if c.Dev == "" {
		return os.Stderr, func() {}, nil
	}
	name := filepath.Join(string(c.Dev), "bosh/log/current")
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, nil, fmt.Errorf("log: %w", err)
	}
	if info, err := os.Stat(name); err == nil && info.Size() > maxLog {
		if err := os.Rename(name, name+".old"); err != nil {
			return nil, nil, fmt.Errorf("log: %w", err)
		}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("log: %w", err)
	}
	return io.MultiWriter(os.Stderr, f), func() { _ = f.Close() }, nil // all is written already
}

// ready says where the agent is.
func (c *cli) ready(stdout io.Writer, at node.Place) {
	where := ""
	if c.Dev == "" {
		where = ", and works in " + string(c.BaseDir)
	}
	switch {
	case at.Waiting:
		fmt.Fprintf(stdout, "Agent %s takes requests over NATS once a server answers at %s%s.\n", at.AgentID, at.Servers, where)
	case at.Address == "":
		fmt.Fprintf(stdout, "Agent %s takes requests over NATS, %s%s.\n", at.AgentID, at.Servers, where)
	case at.Open:
		fmt.Fprintf(stdout, "Agent %s takes requests at https://%s (anybody is let in)%s.\n", at.AgentID, at.Address, where)
	default:
		fmt.Fprintf(stdout, "Agent %s takes requests at https://%s%s.\n", at.AgentID, at.Address, where)
	}
	if c.Dev != "" {
		dir := quoted(string(c.Dev))
		fmt.Fprintf(stdout, "Talk to it:\n  agentctl --dev %s ping\n  agentctl --dev %s state --full\n", dir, dir)
	}
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if !strings.ContainsFunc(word, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+,:@%", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
