// Command agentctl talks to a BOSH agent, of any age, over HTTPS or NATS.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/examples/internal/commandline"
	"github.com/deakit/deakit/messaging"
)

// The exit codes of the program, listed in its help.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitDenied      = 4
	exitUnsupported = 5
	exitErrand      = 6
	exitInterrupted = 7
)

const description = `Talks to a BOSH agent, of any age, over HTTPS or NATS.

  agentctl --dev DIR ping                                     the agent that "agent --dev DIR" runs
  agentctl -m https://vcap:pw@10.0.0.21:6868 --ca ca.pem state --full
  agentctl -m nats://10.0.0.6:4222 --agent ID apply spec.json
  agentctl -m ... call mount_disk '"disk-1"'                  any method, with its arguments as JSON
  agentctl -m nats://10.0.0.6:4222 watch                      heartbeats, alerts and losses of all agents, as they come

Results go to standard output: text as it is, everything else as JSON. What a task is up to goes to standard error. The first
interrupt cancels an errand or a drain and shows what it came to; of other tasks it ends the wait only, and tells their id.
An agent in a directory (--dev) that is not up yet is waited for, 5 seconds.

Exit codes:
  0  done; watch was interrupted
  1  the agent says that it failed, or this program did; standard error says what
  2  the command line makes no sense
  3  the agent could not be reached, or did not answer
  4  the agent does not know these credentials
  5  the agent does not know the method, as one in a directory has no users for ssh
  6  the errand ended with another exit code than 0
  7  interrupted; the task goes on`

// A request is one method with its arguments.
type request struct {
	method      string
	arguments   []any
	cancellable bool // and so it is, by an interrupt

	// leaves is the result where the agent cannot be asked any more what became of the task: it was to end, and would have said before
	// if it did not want to.
	leaves string
}

// An asker is a command that is one request.
type asker interface{ request() (request, error) }

// A saver is an asker of which the result is a blob, that may be wanted in a file.
type saver interface{ output() string }

// A talker is a command that is more.
type talker interface {
	talk(ctx context.Context, c *cli, to *connection) error
}

// A listener is a command that asks no agent.
type listener interface {
	listen(ctx context.Context, c *cli) error
}

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

func run(args []string, stdout io.Writer) int {
	c := cli{out: stdout}
	p := commandline.Program{Name: "agentctl", Description: description, Stdout: stdout}
	command, code := p.Parse(&c, args, kong.Vars{"version": commandline.Version()})
	if command == nil {
		return code
	}
	if err := c.run(command.Selected().Target.Addr().Interface()); err != nil {
		fmt.Fprintln(os.Stderr, "agentctl:", explain(err))
		return exitCode(err)
	}
	return exitOK
}

// What ends otherwise than with the answer that was asked for.
var (
	errInterrupted = errors.New("interrupted")
	errErrand      = errors.New("the errand failed")
	errUsage       = errors.New("the command line makes no sense")
	errNoBlob      = errors.New("no such blob")
)

// prefixes are what agents put before the reason, and a person need not read: that of the question for a task, of a task, of a method.
var prefixes = regexp.MustCompile(`^Action Failed \S+: (Task \S+ result: )?`)

// explain is what an agent says, without the names of what went on underneath.
func explain(err error) string {
	remote, ok := err.(*client.RemoteError)
	if !ok {
		return err.Error()
	}
	return "the agent says: " + prefixes.ReplaceAllString(remote.Message, "")
}

// exitCode tells kinds of failures apart.
func exitCode(err error) int {
	var remote *client.RemoteError
	var status *client.StatusError
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, errErrand):
		return exitErrand
	case errors.Is(err, client.ErrUnsupported):
		return exitUnsupported
	case errors.Is(err, client.ErrAuthentication):
		return exitDenied
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.As(err, &remote), errors.Is(err, errLocal), errors.Is(err, errNoBlob):
		return exitFailed
	case errors.As(err, &status), errors.Is(err, client.ErrNoReply), errors.Is(err, messaging.ErrDisconnected), errors.Is(err, errConnect):
		return exitUnreachable
	}
	return exitFailed
}

// run does what a command says.
func (c *cli) run(command any) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c.await(ctx)
	if command, ok := command.(listener); ok {
		return command.listen(ctx, c)
	}
	to, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer to.close()
	switch command := command.(type) {
	case talker:
		return command.talk(ctx, c, to)
	case asker:
		r, err := command.request()
		if err != nil {
			return err
		}
		value, err := c.ask(ctx, stop, to, r)
		if err != nil {
			return err
		}
		if s, ok := command.(saver); ok && s.output() != "" {
			return c.save(ctx, to, value, s.output())
		}
		return c.show(r.method, value)
	}
	return fmt.Errorf("the command %T does nothing", command)
}

// ask sends a request and waits for the end of what it has begun. After the first interrupt, stop lets the next one end all.
func (c *cli) ask(ctx context.Context, stop func(), to *connection, r request) (json.RawMessage, error) {
	task, err := to.agent.Start(ctx, r.method, r.arguments...)
	if err != nil {
		return nil, reached(ctx, err)
	}
	value, err := task.Wait(ctx)
	if ctx.Err() == nil || err == nil {
		if err != nil && r.leaves != "" && !isRemote(err) {
			return json.Marshal(r.leaves)
		}
		return value, reached(ctx, err)
	}
	stop()
	if !r.cancellable {
		return nil, fmt.Errorf("%w: task %s goes on; see agentctl task get %s", errInterrupted, task.ID, task.ID)
	}
	const patience = time.Minute // a script that is ended gets ten seconds
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := task.Cancel(rest); err != nil {
		return nil, fmt.Errorf("%w, but task %s could not be cancelled: %w", errInterrupted, task.ID, err)
	}
	return task.Wait(rest)
}

// errConnect marks what went wrong on the way to the agent.
var errConnect = errors.New("the agent could not be reached")

// errLocal marks what went wrong here.
var errLocal = errors.New("not sent")

// isRemote tells whether the agent has answered.
func isRemote(err error) bool {
	var remote *client.RemoteError
	return errors.As(err, &remote)
}

// reached tells failures of the way from those of the agent.
func reached(ctx context.Context, err error) error {
	switch {
	case err == nil, isRemote(err), errors.Is(err, client.ErrAuthentication):
		return err
	case errors.Is(context.Cause(ctx), context.Canceled):
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	return fmt.Errorf("%w: %w", errConnect, err)
}
