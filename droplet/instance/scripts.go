package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/appenv"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/messaging"
)

// Droplets of the time before buildpacks (vcap_staging, 2011 to 2013) bring scripts of their own: startup, which starts the
// app, writes its pid to run.pid and its output to logs/, and waits for it; and mostly stop, which ends both. They know
// the droplet as their home, and the port as an argument.

// placeholder stands in startup for the program that runs the app, which only the node knows.
const placeholder = "%VCAP_LOCAL_RUNTIME%"

// FindRuntime finds, in the container of an instance, the program that runs its app. asked is what the start message tells of
// it, as JSON: a map as in runtime_info, or a name. An error that is for the owner of the app is told to him.
type FindRuntime func(ctx context.Context, c container.Container, asked json.RawMessage) (Runtime, error)

// A Runtime is a program that runs apps.
type Runtime struct {
	Name       string
	Executable string             // absolute path in the container
	Env        []messaging.EnvVar // for the app; values are expanded by the shell: "/opt/ruby/bin:$PATH"
	Warnings   []string           // what is not as asked for; they go to the log of the node
}

// A RuntimeError says why an app has no program that runs it. It is Status.StartError then.
type RuntimeError struct{ Err error }

func (e *RuntimeError) Error() string { return "find the runtime of the app: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *RuntimeError) Unwrap() error { return e.Err }

// The reasons that lie in what was sent, or in how the node is made.
var (
	// ErrRuntimeUntold: startup has the placeholder, and the start message says nothing of a runtime.
	ErrRuntimeUntold = errors.New("its startup script wants one (" + placeholder + "), but neither runtime_info nor runtime of the start message names any")
	// ErrNoRuntimes: it does, and this node has no Config.Runtime.
	ErrNoRuntimes = errors.New("this node offers no runtimes, and can only start droplets that bring what they need")
)

// callsStartup finds start commands that are no more than a call of the script.
var callsStartup = regexp.MustCompile(`(^|[\s;&|(])\./startup(\s|$)`)

// scriptsOf returns the content of startup, if that is what is run and one of that time; else an empty text. It is told by its
// content, as later droplets without buildpacks have a startup too, which wants the environment of today.
func (l *life) scriptsOf(ctx context.Context, app startCommand) (string, error) {
	if app.command != "" && !callsStartup.MatchString(app.command) {
		return "", nil
	}
	startup, err := l.readHome(ctx, "startup")
	if err != nil || startup == "" {
		return "", err
	}
	for _, mark := range []string{placeholder, "$@", "getopts", "../stop"} {
		if strings.Contains(startup, mark) {
			return startup, nil
		}
	}
	stop, err := l.readHome(ctx, "stop")
	if err != nil || stop == "" {
		return "", err
	}
	return startup, nil
}

// readHome reads a small file of the droplet; one that is not there is empty.
func (l *life) readHome(ctx context.Context, name string) (string, error) {
	data, err := containerfs.ReadFile(ctx, l.container, path.Join(container.AppHome, name), smallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

// bind puts the runtime into startup, where that has the placeholder. A runtime that is asked for must be there in any case:
// scripts of Java, for example, find theirs by its environment.
func (l *life) bind(ctx context.Context, startup string) (Runtime, error) {
	asked, wanted := l.message.WantedRuntime(), strings.Contains(startup, placeholder)
	switch {
	case wanted && asked == nil:
		return Runtime{}, &RuntimeError{ErrRuntimeUntold}
	case wanted && l.cfg.Runtime == nil:
		return Runtime{}, &RuntimeError{ErrNoRuntimes}
	case asked == nil || l.cfg.Runtime == nil:
		return Runtime{}, nil
	}
	found, err := l.cfg.Runtime(ctx, l.container, asked)
	if err == nil && !path.IsAbs(found.Executable) {
		err = fmt.Errorf("%q is no absolute path", found.Executable)
	}
	if err != nil {
		return Runtime{}, &RuntimeError{err}
	}
	for _, text := range found.Warnings {
		l.log.Warn("droplet.runtime.other", "runtime", found.Name, "warning", text)
	}
	l.log.Debug("droplet.runtime.found", "runtime", found.Name, "executable", found.Executable)
	if !wanted {
		return found, nil
	}
	script := containerfs.Text("startup", []byte(strings.ReplaceAll(startup, placeholder, shellWord(found.Executable))))
	script.Mode = 0o500
	return found, containerfs.WriteFiles(ctx, l.container, container.AppHome, script)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.,:+/@%=-]+$`)

// shellWord quotes a word for a shell only where it must be.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return appenv.ShellQuote(s)
}

// scriptsStart is what bash reads on its standard input to run startup: with the runtime's variables, then those of the user.
// It is one compound command, so that bash has read all of it before the app begins, and waits for startup. What that says
// itself goes to logs/startup.log; if it ends before there was an app, people find it where they look for errors. Port 0 means
// that the app has no routes, and gets no port.
func scriptsStart(runtime, user []messaging.EnvVar, setup string, port uint16) string {
	var b strings.Builder
	b.WriteString("{\n" + exports(append(runtime[:len(runtime):len(runtime)], user...)))
	b.WriteString("rm -f run.pid\nmkdir -p logs tmp\nexec >>logs/startup.log 2>&1\n")
	if setup != "" {
		b.WriteString(setup + "\n")
	}
	b.WriteString("./startup")
	if port != 0 {
		fmt.Fprintf(&b, " -p %d", port)
	}
	b.WriteString(` </dev/null
status=$?
[ -s run.pid ] || cat logs/startup.log >>logs/stderr.log
exit $status
}
`)
	return b.String()
}
