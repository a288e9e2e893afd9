package warden

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// processMark is what the process back end finds its processes by. Nobody else may set it.
const processMark = "DEAKIT_CONTAINER"

// quote makes text one word of the shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// startScript is what bash does to become the process of spec. It tells through the pipe ctl that it could ("P" and its
// process id), or why it could not ("E" and a word).
//
// All of it is one command, so that bash has read it to its end before it gives up its input, and none of it goes to the
// arguments of a process, where others could see secrets.
func startScript(r record, spec container.ProcessSpec, pipes *pipes) (string, error) {
	if err := checkProcess(spec); err != nil {
		return "", err
	}
	exports, arguments := environment(r.Env, spec)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("{")
	line("exec 3<>%s || exit 125", quote(pipes.inside("ctl")))
	line(`deny() { printf 'E%%s\n' "$1" >&3; exit 125; }`)
	if spec.Dir != "" {
		dir, below := r.place(spec.Dir)
		line("cd -P -- %s 2>/dev/null || deny directory", quote(dir))
		if below != "" { // a link could lead out of what stands for the root
			line(`case "$PWD/" in %s/*) ;; *) deny directory ;; esac`, quote(below))
		}
	}
	for _, entry := range exports {
		name, value, _ := strings.Cut(entry, "=")
		line("export %s=%s", name, quote(value))
	}
	line("type -P -- %s >/dev/null || deny program", quote(spec.Path))
	// Opened for both first: that does not wait for the other end, which may be gone for ever.
	line("exec 4<>%s 5<>%s 6<>%s || deny streams", quote(pipes.inside("in")), quote(pipes.inside("out")), quote(pipes.inside("err")))
	line("exec <%s >%s 2>%s 4>&- 5>&- 6>&- || deny streams", quote(pipes.inside("in")), quote(pipes.inside("out")), quote(pipes.inside("err")))
	line(`printf 'P%%d\n' $$ >&3`)
	b.WriteString("exec 3>&- /usr/bin/env")
	for _, name := range []string{"_", "OLDPWD", "PWD", "SHLVL"} { // of bash itself
		b.WriteString(" -u " + name)
	}
	for _, word := range append(append(arguments, spec.Path), spec.Args...) {
		b.WriteString(" " + quote(word))
	}
	b.WriteString("\n}\n")
	return b.String(), nil
}

func checkProcess(spec container.ProcessSpec) error {
	if err := containerkit.CheckProcess(spec); err != nil {
		return err
	}
	if strings.HasPrefix(spec.Path, "-") || strings.Contains(spec.Path, "=") {
		return fmt.Errorf("program %q begins with '-' or holds '=': %w", spec.Path, container.ErrUnsupported)
	}
	switch spec.User {
	case "", container.AppUser, "root":
		return nil
	}
	return fmt.Errorf("user %q; Warden knows %s and root: %w", spec.User, container.AppUser, container.ErrUnsupported)
}

var (
	shellName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// special are variables that mean something to bash, which would change it, them, or say something about them.
	special = regexp.MustCompile(`^(BASH.*|COMP.*|DIRSTACK|EPOCH.*|EUID|EXECIGNORE|FUNCNAME|GLOBIGNORE|GROUPS|HIST.*|LANG|LC_.*|LINENO|` +
		`OLDPWD|OPT.*|PIPESTATUS|POSIXLY_CORRECT|PPID|PWD|RANDOM|SECONDS|SHELLOPTS|SHLVL|SRANDOM|TIMEFORMAT|TMOUT|UID|_)$`)
)

// environment composes the environment: later entries win. Most of it bash exports; what it cannot goes to the arguments of
// env, which turn into the process at once.
func environment(shared []string, spec container.ProcessSpec) (exports, arguments []string) {
	for _, entry := range containerkit.MergeEnv(containerkit.DefaultEnv(), shared, spec.Env) { // Warden has told HOME and USER
		switch name, _, _ := strings.Cut(entry, "="); {
		case name == processMark:
		case shellName.MatchString(name) && !special.MatchString(name):
			exports = append(exports, entry)
		default:
			arguments = append(arguments, entry)
		}
	}
	return exports, arguments
}

// place returns what processes call a directory of the container and, where the container has no root of its own, the
// directory below which it must really lie.
func (r record) place(dir string) (name, below string) {
	info := container.Info{Root: r.Root}
	name = info.Inside(dir)
	if info.Root == "" {
		return name, ""
	}
	below = info.Root
	clean, covered := path.Clean("/"+dir), ""
	for _, m := range r.Mounts {
		if (clean == m.Dst || strings.HasPrefix(clean, m.Dst+"/")) && len(m.Dst) > len(covered) {
			below, covered = m.Src, m.Dst
		}
	}
	return name, below
}

// understandStart translates what the start script says.
func understandStart(said string, spec container.ProcessSpec) (pid int, err error) {
	switch {
	case strings.HasPrefix(said, "P"):
		return strconv.Atoi(said[1:])
	case said == "Edirectory":
		return 0, fmt.Errorf("working directory %q does not exist, or cannot be entered", spec.Dir)
	case said == "Eprogram":
		return 0, fmt.Errorf("program %q does not exist, or cannot be executed", spec.Path)
	}
	return 0, fmt.Errorf("its streams cannot be opened in the container: %.100q", said)
}
