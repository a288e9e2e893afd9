package framework

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
)

// standalone is for apps that are started by a command of their own.
type standalone struct{}

func (standalone) Name() string { return "standalone" }

func (standalone) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	command := t.Properties.Command
	if strings.TrimSpace(command) == "" {
		return Scripts{}, wrong("Unable to determine the startup command: a standalone app needs one (meta.command)")
	}
	if err := t.CopyApp(ctx, ".", "app"); err != nil {
		return Scripts{}, err
	}
	if err := makeExecutable(t, "app"); err != nil {
		return Scripts{}, err
	}
	startup := Startup{Command: command}
	switch name := t.Properties.Runtime.Name; {
	case strings.HasPrefix(name, "ruby"):
		r, err := rubyGems(ctx, t, "test")
		if err != nil {
			return Scripts{}, err
		}
		startup.Env, startup.Hook = r.env(nil), rubyHook
	case strings.HasPrefix(name, "java"):
		startup.Env = map[string]string{"JAVA_OPTS": "$JAVA_OPTS " + javaMemory(t) + " -Djava.io.tmpdir=$PWD/tmp"}
	case strings.HasPrefix(name, "python"):
		startup.Env = map[string]string{"PYTHONUNBUFFERED": "true"}
	}
	return Scripts{Startup: startup}, nil
}

// makeExecutable gives all files below a directory of the droplet the mode 0744, as the command may be any of them.
// Directories get 0755, where the original took from others the right to enter them.
func makeExecutable(t *Tree, dir string) error {
	return fs.WalkDir(t.FS(), dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return t.root.Chmod(name, 0o755)
		case entry.Type().IsRegular():
			return t.root.Chmod(name, 0o744)
		}
		return nil
	})
}

// javaMemory are the options for the heap: all that the app may use in the original, 75 % without it, since a JVM needs more
// than its heap and today's limits are kept by killing.
func javaMemory(t *Tree) string {
	memory := t.memory()
	if !t.Options.Original {
		memory = memory * 3 / 4
	}
	return fmt.Sprintf("-Xms%dm -Xmx%dm", memory, memory)
}
