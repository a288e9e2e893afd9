// Command lifecycle is the programs of buildpackapplifecycle in one binary: builder, launcher, shell and healthcheck. It
// goes by the name that it is called by, a link for example, or else by its first argument.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/deakit/deakit/staging/lifecycle"
)

const help = `The programs that turn source into a droplet and start it, for a scheduler that has put them into a container.

  lifecycle builder [flags]                                  stage: run buildpacks, write droplet, cache and result
  lifecycle launcher APP-DIR START-COMMAND METADATA          become the app; the working directory is the droplet's root
  lifecycle shell [APP-DIR [COMMAND]]                        become a shell, or a command, in the environment of the app
  lifecycle healthcheck [flags]                              ask whether an app takes connections, or answers HTTP

Called as builder, launcher, shell or healthcheck, through a link for example, it is that program. "lifecycle builder -help"
and "lifecycle healthcheck -help" list the flags.

Nothing is isolated here: buildpacks do what the account of the builder may do.

Exit codes of builder:
  0    droplet, cache and result are written
  1    something failed that has no code of its own; standard error says what
  2    a flag that there is none of
  3    VCAP_PLATFORM_OPTIONS is no JSON
  4    CredHub did not resolve the references in VCAP_SERVICES
  222  no buildpack takes the app
  223  the last buildpack failed
  224  bin/release of the last buildpack failed
  225  another buildpack failed, or has no bin/supply

Exit codes of launcher, until it is the app: 1 wrong arguments or no start command, 2 a flag that there is none of, 3 the
environment could not be made, 4 bash could not be started. Of shell and healthcheck: 1, and 2 as above.
`

// names are the programs.
var names = []string{"builder", "launcher", "shell", "healthcheck"}

func main() { os.Exit(run(os.Args)) }

// run runs the program that args, with the name at their head, ask for.
func run(args []string) int {
	name, rest := filepath.Base(args[0]), args[1:]
	if !slices.Contains(names, name) {
		if len(rest) == 0 || !slices.Contains(names, rest[0]) {
			return usage(rest)
		}
		name, rest = rest[0], rest[1:]
	}
	// The first signal ends what was begun, the second one the program.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	p := lifecycle.OfThis(name, rest)
	var command lifecycle.Command
	var err error
	switch name {
	case "builder":
		return lifecycle.Exit(p, lifecycle.Builder(ctx, p))
	case "healthcheck":
		return lifecycle.Exit(p, lifecycle.HealthCheck(ctx, p))
	case "launcher":
		command, err = lifecycle.Launcher(ctx, p)
	case "shell":
		command, err = lifecycle.Shell(ctx, p)
	}
	if err == nil {
		err = command.Replace()
	}
	return lifecycle.Exit(p, err)
}

// usage shows the help, and before it what is wrong where nobody asked for that.
func usage(args []string) int {
	const programs = "builder, launcher, shell or healthcheck"
	if len(args) > 0 && slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		fmt.Print(help)
		return 0
	}
	problem := "which program? Give " + programs
	if len(args) > 0 {
		problem = fmt.Sprintf("there is no program %q: give %s", args[0], programs)
	}
	fmt.Fprintf(os.Stderr, "lifecycle: %s\n\n%s", problem, help)
	return lifecycle.ExitUsage
}
