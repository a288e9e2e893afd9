// Command directoryserver serves files of instances and staging tasks by signed URL, beside a DEA: it takes the DEA's
// configuration file, and asks the DEA's file API what may be read.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/examples/internal/commandline"
	"github.com/deakit/deakit/examples/internal/signals"
	"github.com/deakit/deakit/logging"
)

// The exit codes of the program, listed in its help.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const description = `A directory server: lists, serves and tails files of instances and staging tasks by signed URL.

It stands beside a DEA (examples/dea with --no-directory-server, or an original one), reads the same configuration file, and asks
the DEA on localhost what may be read. examples/dea/dea.yml explains the keys: those below directory_server, and
deakit.host, deakit.directory_status_port (which needs status.user and status.password), deakit.directory_cache,
deakit.file_urls.lifetime, deakit.log_format and deakit.syslog_address.

What a client can add to a signed URL (docs/files.md has it all):
  &tail                 what is written to the file from now on; &tail_offset=N from a byte, &tail_follow beyond rotation
  &archive=zip or tgz   all that is below a directory
  Accept: application/json or text/html   the listing of a directory, other than as text

Signals:
  TERM, INT, QUIT  end: tails at once, which their readers can tell from the end of a file, other requests within five
                   seconds; a second one ends at once
  HUP              open the log file again

Exit codes:
  0  ended as told
  1  the configuration is wrong, or something failed; standard error says what
  2  the command line makes no sense`

type cli struct {
	Conf   string `placeholder:"FILE" help:"Configuration file of the DEA. -conf FILE and FILE alone are understood too."`
	File   string `arg:"" optional:"" name:"FILE" help:"The same."`
	Under  string `placeholder:"DIR" default:"/" type:"existingdir" help:"Serve nothing that is not below this directory, whatever the DEA says."`
	AsRoot bool   `help:"Read with all rights of root, where the server has them. Else it reads with those of the user to whom the files of an instance belong, known by the first directory on the way, below --under, that is not root's."`
	Check  bool   `help:"Check the configuration, tell what is wrong or odd with it, and end."`
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var c cli
	p := commandline.Program{Name: "directoryserver", Description: description}
	args, err := withTwoDashes(args)
	if err != nil {
		return p.Misused(err)
	}
	command, code := p.Parse(&c, args)
	if command == nil {
		return code
	}
	if err := c.run(); err != nil {
		fmt.Fprintln(os.Stderr, "directoryserver:", err)
		return exitFailed
	}
	return exitOK
}

// Validate takes the one file that is named in either way.
func (c *cli) Validate() error {
	if (c.Conf == "") == (c.File == "") {
		return errors.New("give one configuration file: -conf FILE")
	}
	c.Conf = cmp.Or(c.Conf, c.File)
	return nil
}

// withTwoDashes turns the original's "-conf" into "--conf".
func withTwoDashes(args []string) (plain []string, err error) {
	for i, arg := range args {
		if (arg == "-conf" || arg == "--conf") && i == len(args)-1 {
			return nil, fmt.Errorf("%s needs the name of a configuration file", arg)
		}
		if arg == "-conf" || strings.HasPrefix(arg, "-conf=") {
			arg = "-" + arg
		}
		plain = append(plain, arg)
	}
	return plain, nil
}

// run is all that comes after the command line.
func (c *cli) run() (err error) {
	cfg, warnings, err := config.LoadFileServer(c.Conf)
	odd := c.oddities(cfg, warnings)
	if err != nil || c.Check {
		for _, text := range odd {
			fmt.Fprintln(os.Stderr, "warning:", text)
		}
		if err == nil {
			fmt.Printf("%s can be used; warnings: %d\n", c.Conf, len(odd))
		}
		return err
	}
	log, output, err := logging.New(cfg.Log())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, output.Close()) }()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	defer signals.Keep(syscall.SIGHUP).Obey(signals.Orders{End: []func(){end, atOnce}, Others: map[os.Signal]func(){
		syscall.SIGHUP: func() {
			if err := output.Reopen(); err != nil {
				log.Error("log.reopen.failed", "error", err)
			}
		},
	}})()
	n, err := open(cfg, c, log, output)
	if err != nil {
		return err
	}
	n.log.Info("directory.starting", "config", c.Conf, "pid", os.Getpid())
	for _, text := range odd {
		n.log.Warn("config.warning", "warning", text)
	}
	if err := n.run(ctx); err != nil {
		n.log.Error("directory.failed", "error", err)
		return err
	}
	n.log.Info("directory.stopped")
	return nil
}

func atOnce() {
	fmt.Fprintln(os.Stderr, "directoryserver: ended at once by a second signal")
	os.Exit(exitFailed)
}
