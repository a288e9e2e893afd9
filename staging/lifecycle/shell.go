package lifecycle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Shell is the program shell: it becomes a shell, or another command, with the environment that the app of a droplet has,
// but for what .profile does. Its arguments are the directory of the app, by default app in HOME, and the command, by
// default bash; flags for CredHub may follow.
//
// The caller replaces the process by the command. Shell fails with an [*ExitError].
func Shell(ctx context.Context, p Process) (Command, error) {
	p = p.withDefaults("shell")
	env := newEnviron(p.Env)
	dir, missing := filepath.Join(env.get("HOME"), "app"), "Could not infer app directory, please provide one"
	command := "bash"
	var flags []string
	if len(p.Args) > 0 {
		dir, missing = p.Args[0], "Provided app direcory does not exist"
	}
	if len(p.Args) > 1 {
		command, flags = p.Args[1], p.Args[2:]
	}
	dir, err := p.path(dir)
	if err == nil {
		_, err = os.Stat(dir)
	}
	if err != nil {
		return Command{}, fail(ExitFailed, "%s", missing)
	}
	credHub, err := p.credHubFlags(flags)
	if err != nil {
		return Command{}, err
	}
	if err := env.forApp(ctx, dir, credHub, p.Stdout); err != nil {
		return Command{}, &ExitError{ExitFailed, err}
	}
	return bash(fmt.Sprintf(sourceProfiles, "")+`exec bash -c "$@"`, env, p.Name, dir, command), nil
}
