package framework

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/loose"
	"github.com/deakit/deakit/staging/framework/internal/words"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

const rt = runtimes.Placeholder

// rubyHook makes output appear when it is written. It runs in the droplet's root; "mkdir ruby" may find it there.
const rubyHook = "mkdir ruby\n" + `echo "\$stdout.sync = true" >> ./ruby/stdsync.rb`

// The gems that configure an app by its services when it starts.
var (
	autoconfigGem  = "cf-autoconfig-0.0.4"
	autoconfigGems = []string{"cf-runtime-0.0.2", autoconfigGem}
)

// A rubyApp is an app in Ruby whose files are in the droplet.
type rubyApp struct {
	*Tree
	lib     string // directory name of the gems: the version of Ruby's ABI
	bundle  *lockfile
	bundled bool // its gems are in rubygems, not those of the runtime
	wants   bool // to be configured by its services
	auto    bool // the gems that do so are in it
}

// stageRuby copies the app and sees to its gems.
func stageRuby(ctx context.Context, t *Tree, exclude string) (*rubyApp, error) {
	if err := t.CopyApp(ctx, ".", "app"); err != nil {
		return nil, err
	}
	return rubyGems(ctx, t, exclude)
}

// rubyGems sees to the gems of an app that is there: without a Gemfile.lock it has none. exclude are the groups of gems that
// it does without, unless its environment says otherwise.
func rubyGems(ctx context.Context, t *Tree, exclude string) (*rubyApp, error) {
	r := &rubyApp{Tree: t, lib: rubyABI(t.Properties.Runtime.Version)}
	lock, there, err := t.Read("app/Gemfile.lock")
	if err != nil {
		return nil, err
	}
	if there {
		r.bundle = parseLockfile(lock)
		if err := r.install(exclude); err != nil {
			return nil, err
		}
	} else if !t.Options.Original {
		// "-rubygems" loads ubygems, which Ruby has not had since 2.5.
		if err := t.Write("ruby/ubygems.rb", "require \"rubygems\"\n", 0o644); err != nil {
			return nil, err
		}
	}
	if r.wants, err = r.autoconfig(); err != nil || !r.wants {
		return r, err
	}
	r.auto, err = r.installAutoconfig(ctx)
	return r, err
}

var rubyVersion = regexp.MustCompile(`^(\d+)\.(\d+)`)

// rubyABI is the directory that RubyGems has for a version of Ruby.
func rubyABI(version string) string {
	m := rubyVersion.FindStringSubmatch(version)
	switch {
	case m == nil, m[1] == "1" && m[2] == "8":
		return "1.8"
	case m[1] == "1":
		return "1.9.1"
	}
	return m[1] + "." + m[2] + ".0"
}

// autoconfig tells whether the app wants to be configured by its services.
func (r *rubyApp) autoconfig() (bool, error) {
	config, err := r.cloudfoundryYML()
	if err != nil || config.Get("autoconfig").IsFalse() {
		return false, err
	}
	if r.bundle == nil {
		r.Log("Auto-reconfiguration disabled because app does not use Bundler.")
		r.Log("Please provide a Gemfile.lock to use auto-reconfiguration.")
		return false, nil
	}
	return !r.bundle.has("cf-runtime"), nil
}

// cloudfoundryYML is what the app says about its staging; null if it says nothing.
func (t *Tree) cloudfoundryYML() (loose.Value, error) {
	data, _, err := t.Read("app/config/cloudfoundry.yml")
	if err != nil {
		return loose.Value{}, err
	}
	v, err := loose.YAML(data)
	if err != nil {
		return loose.Value{}, wrong("config/cloudfoundry.yml cannot be read: %w", err)
	}
	return v, nil
}

// env are the variables of the app, and those in more.
func (r *rubyApp) env(more map[string]string) map[string]string {
	env := map[string]string{}
	maps.Copy(env, more)
	if r.bundle == nil {
		env["RUBYOPT"] = "-rubygems -I$PWD/ruby -rstdsync"
		return env
	}
	home := "$PWD/app/" + r.gemDir()
	env["PATH"] = home + "/bin:$PATH"
	env["GEM_HOME"] = home
	env["GEM_PATH"] = home + ":$GEM_PATH"
	env["RUBYOPT"] = "-I$PWD/ruby -rstdsync"
	if r.auto {
		load := "" // Ruby 1.9 finds it by itself; the two blanks are the original's
		if r.lib == "1.8" {
			load = fmt.Sprintf("-I%s/gems/%s/lib", home, autoconfigGem)
		}
		env["RUBYOPT"] = "-I$PWD/ruby " + load + " -rcfautoconfig -rstdsync"
	}
	return env
}

// gemDir is where the gems are, relative to the app.
func (r *rubyApp) gemDir() string { return "rubygems/ruby/" + r.lib }

// bundler is the command that a runtime runs as Bundler: without a path it is one of the runtime's own.
func (r *rubyApp) bundler() string {
	if command := r.Properties.Runtime.Bundler; command != "" {
		return command
	}
	return "-S bundle"
}

// exec returns the command that runs a script in the bundle, where there is one.
func (r *rubyApp) exec(script string) string {
	if r.bundle == nil {
		return rt + " " + script
	}
	return fmt.Sprintf("%s %s exec %s %s", rt, r.bundler(), rt, script)
}

// gemScript is a script of a gem: that in the app, or where the gems are the runtime's, that which is searched in PATH.
func (r *rubyApp) gemScript(name string) string {
	if !r.bundled {
		return "-S " + name
	}
	return "./" + r.gemDir() + "/bin/" + name
}

// scriptName is a file of the app as an argument for bash, and for a program that takes options.
func scriptName(file string) string {
	if strings.HasPrefix(file, "-") {
		file = "./" + file
	}
	return words.Quote(file)
}

type sinatra struct{}

func (sinatra) Name() string { return "sinatra" }

func (p sinatra) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	r, err := stageRuby(ctx, t, "test")
	if err != nil {
		return Scripts{}, err
	}
	main, err := t.matching(ctx, p.Name())
	if err != nil {
		return Scripts{}, err
	}
	if len(main) == 0 {
		return Scripts{}, wrong("Unable to determine Sinatra startup command")
	}
	script := scriptName(main[0])
	if r.bundle != nil {
		script = "./" + script
	}
	return Scripts{Startup: Startup{
		Env:     r.env(map[string]string{"RACK_ENV": "${RACK_ENV:-production}"}),
		Hook:    rubyHook,
		Command: r.exec(script + " $@"),
	}}, nil
}

type rack struct{}

func (rack) Name() string { return "rack" }

func (rack) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	r, err := stageRuby(ctx, t, "test")
	if err != nil {
		return Scripts{}, err
	}
	rackup := "-S rackup"
	if r.bundled {
		rackup = "-S " + r.gemScript("rackup")
	}
	return Scripts{Startup: Startup{
		Env:     r.env(map[string]string{"RACK_ENV": "${RACK_ENV:-production}"}),
		Hook:    rubyHook,
		Command: r.exec(rackup + " $@ config.ru -E $RACK_ENV"),
	}}, nil
}
