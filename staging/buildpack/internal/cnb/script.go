package cnb

import (
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/appenv"
)

// How a process is started in the directory of the app. A droplet with LaunchPrefix as its entrypoint_prefix runs any other
// start command in the environment of its buildpacks too.
const (
	LaunchName   = "layers/config/launch" // from the root of the droplet
	LaunchPrefix = "bash ../" + LaunchName
	launchCall   = "exec " + LaunchPrefix + " "
)

// StartCommand returns the command that starts the process of the given type, for a shell in the directory of the app.
func StartCommand(processType string) string { return launchCall + processType }

//go:embed launch.bash
var launcher string

// reserved are the variables that bash does not let anyone set, or gives another meaning, and those that the script needs.
var reserved = []string{
	"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID",
	"BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS", "BASH_COMMAND", "BASH_LINENO", "BASH_REMATCH",
	"BASH_SOURCE", "BASH_SUBSHELL", "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "FUNCNAME", "GROUPS",
	"HISTCMD", "LINENO", "PIPESTATUS", "RANDOM", "SECONDS", "SRANDOM", "_",
	"__args", "__append", "__bytes", "__command", "__dir", "__direct", "__from", "__here", "__home", "__i", "__names", "__out",
	"__profiles", "__rest", "__script", "__seconds", "__type", "__values",
}

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// settable tells whether bash can set a variable.
func settable(name string) bool {
	return variablePattern.MatchString(name) && !slices.Contains(reserved, name)
}

// A LaunchPack is a buildpack with the layers that are in the droplet.
type LaunchPack struct {
	*Descriptor
	Layers []string // sorted
	Tree   Tree
}

// A Launch is what the script that starts processes is made of.
type Launch struct {
	// Home is the root of the droplet, as programs knew it while it was built. Where values begin with it, the script puts the
	// directory that it finds itself in.
	Home      string
	Packs     []LaunchPack
	Processes []Process
}

// Script returns the script, and the names of variables that it leaves out because bash cannot set them. It fails with a
// [*FileError].
func (l Launch) Script() (script string, left []string, err error) {
	var environment, programs, scripts, processes strings.Builder
	for _, p := range l.Packs {
		missing, err := l.environment(&environment, p)
		if err != nil {
			return "", nil, err
		}
		left = append(left, missing...)
		for _, layer := range p.Layers {
			l.each(&programs, p, path.Join(layer, "exec.d"), "__run")
			l.each(&scripts, p, path.Join(layer, "profile.d"), "__profile")
		}
	}
	for _, p := range l.Processes {
		fmt.Fprintf(&processes, "\t%s) %s ;;\n", appenv.ShellQuote(p.Type), l.process(p))
	}
	script = strings.NewReplacer(
		"@ENVIRONMENT@", environment.String(), "@PROGRAMS@", programs.String(), "@SCRIPTS@", scripts.String(),
		"@PROCESSES@", processes.String(), "@CALL@", appenv.ShellQuote(launchCall), "@RESERVED@", strings.Join(reserved, " | "),
	).Replace(launcher)
	slices.Sort(left)
	return script, slices.Compact(left), nil
}

func (l Launch) dir(p LaunchPack, name string) string {
	return path.Join(l.Home, "layers", Escape(p.ID), name)
}

// environment writes the changes that the layers of a buildpack make: those of directories first, then those of files.
func (l Launch) environment(w *strings.Builder, p LaunchPack) (left []string, err error) {
	fmt.Fprintf(w, "\t# %v\n", p)
	for _, layer := range p.Layers {
		has := func(sub string) bool { _, ok := p.Tree[path.Join(layer, sub)]; return ok }
		left = append(left, l.changes(w, "", rootChanges(l.dir(p, layer), has, true))...)
	}
	for _, layer := range p.Layers {
		dirs := []struct{ prefix, name string }{{"", "env"}, {"", "env.launch"}}
		for _, process := range l.Processes {
			dirs = append(dirs, struct{ prefix, name string }{"__only " + appenv.ShellQuote(process.Type) + " ", "env.launch/" + process.Type})
		}
		for _, d := range dirs {
			name := path.Join(layer, d.name)
			changes, err := Changes(name+" of "+p.String(), p.Tree.files(name), Override)
			if err != nil {
				return nil, err
			}
			left = append(left, l.changes(w, d.prefix, changes)...)
		}
	}
	return left, nil
}

func (l Launch) changes(w *strings.Builder, prefix string, changes []Change) (left []string) {
	for _, c := range changes {
		if !settable(c.Name) {
			left = append(left, c.Name)
			continue
		}
		fmt.Fprintf(w, "\t%s__%s %s %s", prefix, c.Action, c.Name, l.quote(c.Value))
		if c.Delim != "" {
			fmt.Fprintf(w, " %s", appenv.ShellQuote(c.Delim))
		}
		w.WriteString("\n")
	}
	return left
}

// each writes a call for each file in a directory of a layer, and in those for the processes.
func (l Launch) each(w *strings.Builder, p LaunchPack, dir, call string) {
	for _, name := range p.Tree.programs(dir) {
		fmt.Fprintf(w, "\t%s %s\n", call, l.quote(l.dir(p, name)))
	}
	for _, process := range l.Processes {
		for _, name := range p.Tree.programs(path.Join(dir, process.Type)) {
			fmt.Fprintf(w, "\t__only %s %s %s\n", appenv.ShellQuote(process.Type), call, l.quote(l.dir(p, name)))
		}
	}
}

func (l Launch) process(p Process) string {
	var text strings.Builder
	if p.Direct {
		text.WriteString("__direct=1 ")
	}
	if p.Append {
		text.WriteString("__append=1 ")
	}
	switch {
	case path.IsAbs(p.Dir):
		fmt.Fprintf(&text, "__dir=%s ", l.quote(p.Dir))
	case p.Dir != "":
		fmt.Fprintf(&text, `__dir="$__home"/app/%s `, appenv.ShellQuote(p.Dir))
	}
	fmt.Fprintf(&text, "__command=(%s)", l.list(p.Command))
	if len(p.Args) > 0 {
		fmt.Fprintf(&text, " __args=(%s)", l.list(p.Args))
	}
	return text.String()
}

func (l Launch) list(words []string) string {
	var quoted []string
	for _, word := range words {
		quoted = append(quoted, l.quote(word))
	}
	return strings.Join(quoted, " ")
}

// quote returns text as one word of a shell, with the present root of the droplet in place of the former one.
func (l Launch) quote(text string) string {
	var word strings.Builder
	for {
		i := indexPath(text, l.Home)
		if i < 0 {
			break
		}
		if i > 0 {
			word.WriteString(appenv.ShellQuote(text[:i]))
		}
		word.WriteString(`"$__home"`)
		text = text[i+len(l.Home):]
	}
	if text != "" || word.Len() == 0 {
		word.WriteString(appenv.ShellQuote(text))
	}
	return word.String()
}

// indexPath finds dir in text where it is a path, or the beginning of one; -1 if there is none.
func indexPath(text, dir string) int {
	for from := 0; dir != ""; {
		i := strings.Index(text[from:], dir)
		if i < 0 {
			return -1
		}
		i += from
		from = i + len(dir)
		if from == len(text) || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", rune(text[from])) {
			return i
		}
	}
	return -1
}

// ReplacePath puts another directory in the place of dir, wherever that is a path in text, or the beginning of one.
func ReplacePath(text, dir, other string) string {
	var out strings.Builder
	for {
		i := indexPath(text, dir)
		if i < 0 {
			return out.String() + text
		}
		out.WriteString(text[:i] + other)
		text = text[i+len(dir):]
	}
}

// Metadata returns the file layers/config/metadata.toml, by which other tools know what a droplet holds.
func (l Launch) Metadata() ([]byte, error) {
	type process struct {
		Type      string   `toml:"type"`
		Command   []string `toml:"command"`
		Args      []string `toml:"args"`
		Direct    bool     `toml:"direct"`
		Dir       string   `toml:"working-dir,omitempty"`
		Buildpack string   `toml:"buildpack-id"`
	}
	type pack struct {
		ID       string `toml:"id"`
		Version  string `toml:"version"`
		API      string `toml:"api"`
		Homepage string `toml:"homepage,omitempty"`
	}
	var file struct {
		Processes  []process `toml:"processes"`
		Buildpacks []pack    `toml:"buildpacks"`
	}
	// For others the root is where droplets are unpacked, wherever it was when this one was built.
	settled := func(words []string) []string {
		var all []string
		for _, word := range words {
			all = append(all, ReplacePath(word, l.Home, container.AppHome))
		}
		return all
	}
	for _, p := range l.Processes {
		dir := ReplacePath(p.Dir, l.Home, container.AppHome)
		file.Processes = append(file.Processes, process{p.Type, settled(p.Command), settled(p.Args), p.Direct, dir, p.Buildpack})
	}
	for _, p := range l.Packs {
		file.Buildpacks = append(file.Buildpacks, pack{p.ID, p.Version, p.API.String(), p.Homepage})
	}
	return encode(file)
}
