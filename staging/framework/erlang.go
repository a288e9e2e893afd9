package framework

import (
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/loose"
)

//go:embed erlang.yml
var erlangRuntimes []byte

// otpRebar is for releases of Erlang/OTP as rebar made them.
type otpRebar struct{}

func (otpRebar) Name() string { return "otp_rebar" }

func (p otpRebar) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	if err := t.CopyApp(ctx, ".", "app"); err != nil {
		return Scripts{}, err
	}
	name, err := p.release(ctx, t)
	if err != nil {
		return Scripts{}, err
	}
	command, err := p.command(t, name)
	if err != nil {
		return Scripts{}, err
	}
	if err := p.useRuntime(t); err != nil {
		return Scripts{}, err
	}
	if err := p.arguments(t); err != nil {
		return Scripts{}, err
	}
	return Scripts{Startup: Startup{Command: command}}, nil
}

// release returns the name of the one release that has a start script.
func (p otpRebar) release(ctx context.Context, t *Tree) (string, error) {
	files, err := t.matching(ctx, p.Name())
	if err != nil {
		return "", err
	}
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".rel")
		if t.Has("app/bin/" + name) {
			names = append(names, name)
		}
	}
	switch len(names) {
	case 0:
		return "", wrong("No valid Erlang releases with start scripts found. Cannot start application.")
	case 1:
		return names[0], nil
	}
	return "", wrong("Multiple Erlang releases with different names found. Cannot start application. (Found: %s)", strings.Join(names, ", "))
}

// command completes the arguments of the VM when the app starts, since they depend on the port and the host.
func (otpRebar) command(t *Tree, name string) (string, error) {
	more, _, err := t.Read("app/etc/vmc.args")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(string(more)) {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintf(&b, "echo %s >>etc/vm.args\n", inspect(line))
		}
	}
	b.WriteString("echo \"-name erl$VMC_APP_PORT@`hostname`\" >>etc/vm.args\n")
	b.WriteString("sh bin/" + scriptName(name) + " console")
	return b.String(), nil
}

// inspect quotes a line as Ruby shows a string: variables in it are expanded by the shell.
func inspect(line string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(line) + `"`
}

// useRuntime puts links to the runtime in the place of what the release brings of it, as that may be built for another
// system. A runtime that nobody has figures of is left out: the release runs as it is.
func (otpRebar) useRuntime(t *Tree) error {
	data, _, err := t.Read("app/releases/start_erl.data")
	if err != nil {
		return err
	}
	packaged, _, _ := strings.Cut(string(data), " ")
	all, err := loose.YAML(erlangRuntimes)
	if err != nil {
		return err
	}
	runtime := t.Properties.Runtime
	known := all.Get(runtime.Version)
	erts := known.Get("erts").Text()
	if erts == "" || !path.IsAbs(runtime.Executable) {
		t.Log("The release brings Erlang runtime %s, which wants the libraries of the system it was built on. The app gets runtime %s.",
			packaged, runtime.Version)
		return nil
	}
	if packaged != erts {
		return wrong("Application was released with different Erlang version to runtime. Selected Runtime ERTS: %s, Packaged ERTS: %s",
			erts, packaged)
	}
	lib := path.Join(path.Dir(path.Dir(runtime.Executable)), "lib/erlang")
	if err := t.Link(path.Join(lib, "erts-"+erts), "app/erts-"+erts); err != nil {
		return err
	}
	for _, library := range known.Get("libraries").Items() {
		if name := "app/lib/" + library.Text(); t.Has(name) {
			if err := t.Link(path.Join(lib, "lib", library.Text()), name); err != nil {
				return err
			}
		}
	}
	return nil
}

var nodeName = regexp.MustCompile(`(?m)^-name .*\n?`)

// arguments takes the name of the node from the arguments of the VM, so that several instances can run, and makes it run
// without input.
func (otpRebar) arguments(t *Tree) error {
	const file = "app/etc/vm.args"
	text, there, err := t.Read(file)
	if err != nil {
		return err
	}
	if !there {
		return wrong("The Erlang release has no etc/vm.args: %w", fs.ErrNotExist)
	}
	cleaned := nodeName.ReplaceAllString(string(text), "")
	if cleaned != "" && !strings.HasSuffix(cleaned, "\n") {
		cleaned += "\n"
	}
	return t.Rewrite(file, cleaned+"\n+B\n-noinput\n")
}
