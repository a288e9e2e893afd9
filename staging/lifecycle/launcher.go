package lifecycle

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/appenv"
)

// sourceProfiles is bash that goes to the directory of the app and sources what prepares the environment: the scripts of the
// buildpacks, then those of the app.
const sourceProfiles = `cd "$1" || exit
for env_file in ../profile.d/* .profile.d/*%s; do
  if [ -f "$env_file" ]; then source "$env_file"; fi
done
unset env_file
shift
`

// Launcher is the program launcher: it becomes the app in the droplet that p's working directory is the root of. Its
// arguments are the directory of the app, the start command, and what the platform knows of the app, which is not looked
// at; flags for CredHub may stand in its place. An empty start command is that of staging_info.yml.
//
// The caller replaces the process by the command. Launcher fails with an [*ExitError].
func Launcher(ctx context.Context, p Process) (Command, error) {
	p = p.withDefaults("launcher")
	usage := fmt.Sprintf("Usage: %s <app-directory> <start-command> <metadata>", p.Name)
	if len(p.Args) == 1 && (p.Args[0] == "-h" || p.Args[0] == "-help" || p.Args[0] == "--help") {
		fmt.Fprintln(p.Stderr, usage)
		return Command{}, flag.ErrHelp
	}
	if len(p.Args) < 3 {
		return Command{}, fail(ExitFailed, "%s: received only %d arguments\n%s", p.Name, len(p.Args), usage)
	}
	dir, err := p.path(p.Args[0])
	if err != nil {
		return Command{}, &ExitError{ExitFailed, err}
	}
	info, err := p.stagingInfo()
	if err != nil {
		return Command{}, fail(ExitFailed, "Invalid staging info - %w", err)
	}
	command := cmp.Or(p.Args[1], info.StartCommand)
	if command == "" {
		return Command{}, fail(ExitFailed, "%s: no start command specified or detected in droplet", p.Name)
	}
	credHub, err := p.credHubFlags(p.Args[2:])
	if err != nil {
		return Command{}, err
	}
	env := newEnviron(p.Env)
	if err := env.forApp(ctx, dir, credHub, p.Stdout); err != nil {
		return Command{}, &ExitError{ExitEnvironment, err}
	}
	script := "echo 'Invoking pre-start scripts.'\n" + fmt.Sprintf(sourceProfiles, " ./.profile") +
		"echo 'Invoking start command.'\nexec " + cmp.Or(info.EntrypointPrefix, "bash -c") + ` "$@"` + "\n"
	return bash(script, env, p.Name, dir, command), nil
}

func bash(script string, env environ, args ...string) Command {
	return Command{Path: "/bin/bash", Args: append([]string{"bash", "-c", script}, args...), Env: env}
}

func (p Process) credHubFlags(args []string) (CredHubOptions, error) {
	opts := defaultCredHub
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	opts.flags(flags)
	return opts, p.parse(flags, args)
}

// stagingInfo reads staging_info.yml, which need not be there.
func (p Process) stagingInfo() (droplet.StagingInfo, error) {
	name, err := p.path(droplet.InfoName)
	if err != nil {
		return droplet.StagingInfo{}, err
	}
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return droplet.StagingInfo{}, nil
	}
	if err != nil {
		return droplet.StagingInfo{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, droplet.MaxInfoBytes+1))
	if err != nil {
		return droplet.StagingInfo{}, err
	}
	return droplet.ParseInfo(data)
}

// forApp makes the environment of an app in dir, an absolute path.
func (e *environ) forApp(ctx context.Context, dir string, credHub CredHubOptions, stdout io.Writer) error {
	e.set("HOME", dir)
	e.set("TMPDIR", filepath.Join(dir, "../tmp"))
	e.set("DEPS_DIR", filepath.Join(dir, "../deps"))
	e.setApplication()
	uri, err := e.credHubURI()
	if err != nil {
		return fmt.Errorf("Invalid platform options: %w", err)
	}
	if uri != "" {
		if err := e.interpolate(ctx, uri, credHub, stdout); err != nil {
			return fmt.Errorf("Unable to interpolate credhub refs: %w", err)
		}
	}
	e.unset("VCAP_PLATFORM_OPTIONS")
	e.setDatabaseURL()
	return nil
}

// setApplication puts into VCAP_APPLICATION what is known only where the app runs. One that is no JSON object stays as it
// is.
func (e *environ) setApplication() {
	decoder := json.NewDecoder(bytes.NewReader([]byte(e.get("VCAP_APPLICATION"))))
	decoder.UseNumber()
	var app map[string]any
	if decoder.Decode(&app) != nil || app == nil {
		return
	}
	app["host"] = "0.0.0.0"
	app["instance_id"] = e.get("INSTANCE_GUID")
	for key, variable := range map[string]string{"port": "PORT", "instance_index": "INSTANCE_INDEX"} {
		if n, err := strconv.Atoi(e.get(variable)); err == nil {
			app[key] = n
		}
	}
	e.set("VCAP_APPLICATION", appenv.JSON(app))
}
