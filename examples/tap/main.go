// Command tap prints what goes over the bus of a platform: every message on one line, with its type checked and its
// secrets masked. See tap --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/deakit/deakit/examples/internal/commandline"
	"github.com/deakit/deakit/examples/tap/internal/tap"
	"github.com/deakit/deakit/messaging"
)

// The exit codes, as the help tells them.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const description = `Prints every message on the bus, one line for each: time, from whom to whom, subject, and the message as JSON.
Messages that a receiver would refuse are flagged with the reason. Answers are shown with the subject of their request.

User info and signatures in URLs, credentials, passwords and values of environment variables show as "…".

SIGINT or SIGTERM ends the program, and the counts go to stderr; a second one ends it at once.

Exit codes: 0 ended by a signal; 1 cannot connect, subscribe or write; 2 wrong usage.`

type arguments struct {
	NATS        []string `name:"nats" sep:"none" placeholder:"URL" env:"NATS_URL" help:"NATS server, nats://[user:password@]host:port; may be given several times. Default: nats://127.0.0.1:4222."`
	Subject     string   `default:">" help:"What to listen to: '*' stands for one part of a subject, '>' for all that follow. Answers to what is heard are always shown too."`
	JSON        bool     `name:"json" help:"Print one JSON object per line."`
	NoColor     bool     `help:"Print no colours. They are also left out when NO_COLOR is set or stdout is no terminal."`
	ShowSecrets bool     `help:"Mask nothing."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second signal ends the program
	colour := isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	code := run(ctx, os.Args[1:], colour, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: it returns the exit code once ctx ends or something fails.
func run(ctx context.Context, args []string, colour bool, stdout, stderr io.Writer) int {
	var cli arguments
	p := commandline.Program{
		Name: "tap", Description: description, Stdout: stdout, Stderr: stderr,
		Misuse: func(err error) string { return err.Error() + "; see tap --help" },
	}
	command, code := p.Parse(&cli, args)
	if command == nil {
		return code
	}
	err := watch(ctx, cli, tap.Options{
		Subject: cli.Subject, JSON: cli.JSON, Colour: colour && !cli.NoColor, ShowSecrets: cli.ShowSecrets,
	}, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "tap:", err)
		return exitFailed
	}
	return exitDone
}

func watch(ctx context.Context, cli arguments, opts tap.Options, stdout, stderr io.Writer) (err error) {
	conn, err := messaging.Connect(messaging.Config{
		Servers: cli.NATS, Name: "tap", Logger: slog.New(slog.NewTextHandler(stderr, nil)),
	})
	if err != nil {
		return err
	}
	defer func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		err = errors.Join(err, messaging.Drain(grace, conn))
	}()
	if !conn.IsConnected() {
		fmt.Fprintln(stderr, "tap: no server answers yet; waiting for one")
	}
	t, err := tap.New(conn, opts)
	if err != nil {
		return err
	}
	counts, err := t.Run(ctx, stdout)
	fmt.Fprintln(stderr, "tap:", counts)
	return err
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
