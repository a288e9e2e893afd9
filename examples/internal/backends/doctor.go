package backends

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/internal/containertrial"
)

// ErrUnusable: the back end that was asked for does not work here.
var ErrUnusable = errors.New("this back end does not work here")

// Doctor writes what this machine has for containers, what it lacks and what to do about it, and which back end a name
// stands for. It fails with ErrUnusable if that does not work.
func Doctor(ctx context.Context, out io.Writer, name string, cfg Config) error {
	choice, err := Choose(ctx, name, cfg)
	if err != nil {
		return err
	}
	findings, plain := Examine(ctx, cfg), tryProcess(ctx, cfg)
	// Whoever reads this sees it, or there is nobody to be told.
	fmt.Fprintln(out, "runc: containers that confine what nobody trusts")
	for _, f := range findings {
		tell(out, f)
	}
	fmt.Fprintln(out, "\nprocess: plain child processes, which confines nothing")
	tell(out, plain)
	server := runc.Finding{What: "a server", Required: true, Detail: "the configuration has no warden_socket"}
	if cfg.WardenSocket != "" {
		server = trySocket(ctx, cfg.WardenSocket, "start one, examples/warden for example, or correct warden_socket")
		fmt.Fprintln(out, "\nwarden: containers of a Warden server, which confines what it can")
		tell(out, server)
	}
	gardener := runc.Finding{Required: true} // Choose takes it only where it is told of
	if cfg.GardenSocket != "" {
		gardener = trySocket(ctx, cfg.GardenSocket, "start one, Guardian for example, or correct deakit.garden_socket")
		fmt.Fprintln(out, "\ngarden: containers of a Garden server")
		tell(out, gardener)
	}
	fmt.Fprintf(out, "\n--backend %s takes %s\n", name, choice)
	f, missing := obstacle(map[string][]runc.Finding{Runc: findings, Process: {plain}, Warden: {server}, Garden: {gardener}}[choice.Name])
	if missing {
		return fmt.Errorf("%s: %s: %w", choice.Name, cmp.Or(f.Detail, f.What), ErrUnusable)
	}
	return nil
}

// tell writes a finding, and what to do about it below.
func tell(out io.Writer, f runc.Finding) {
	fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("  %-8s %-46s %s", f.Mark(), f.What, f.Detail), " "))
	if f.Remedy != "" {
		fmt.Fprintf(out, "  %-8s   remedy: %s\n", "", f.Remedy)
	}
}

// trySocket looks for a server.
func trySocket(ctx context.Context, socket, remedy string) runc.Finding {
	f := runc.Finding{What: "a server at " + socket, Required: true}
	if err := listens(ctx, socket); err != nil {
		f.Detail, f.Remedy = err.Error(), remedy
		return f
	}
	f.OK = true
	return f
}

// tryProcess runs a program in the process back end, in a depot of its own.
func tryProcess(ctx context.Context, cfg Config) runc.Finding {
	f := runc.Finding{What: "a container, for trial", Required: true}
	if err := tryIn(ctx, cfg); err != nil {
		f.Detail, f.Remedy = err.Error(), "choose another directory, or run as the owner of "+filepath.Dir(cfg.Depot)
		return f
	}
	f.OK = true
	return f
}

func tryIn(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	return containertrial.Run(ctx, filepath.Dir(cfg.Depot), func(depot string) (*process.Backend, error) {
		return process.New(process.Options{Depot: depot})
	})
}
