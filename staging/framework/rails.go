package framework

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"strconv"
)

type rails3 struct{}

func (rails3) Name() string { return "rails3" }

func (p rails3) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	r, err := stageRuby(ctx, t, excludedGroups(t))
	if err != nil {
		return Scripts{}, err
	}
	if m := rubyVersion.FindStringSubmatch(t.Properties.Runtime.Version); m != nil && m[1] > "2" {
		t.Log("Rails 3 wants Ruby 1.8.7 to 2.2. The app gets Ruby %s.", t.Properties.Runtime.Version)
	}
	if err := p.console(ctx, t); err != nil {
		return Scripts{}, err
	}
	if r.wants {
		if err := configureDatabase(t); err != nil {
			return Scripts{}, err
		}
	}
	if err := p.assets(r); err != nil {
		return Scripts{}, err
	}
	hook, err := p.hook(r)
	if err != nil {
		return Scripts{}, err
	}
	return Scripts{
		Startup: Startup{
			Env:     r.env(map[string]string{"DISABLE_AUTO_CONFIG": "mysql:postgresql", "RAILS_ENV": "${RAILS_ENV:-production}"}),
			Hook:    hook,
			Command: p.command(r),
		},
		Stop: stopConsole,
	}, nil
}

var railsEnv = regexp.MustCompile(`^['"]?(.*?)['"]?$`)

// excludedGroups are the groups of gems that a Rails app does without.
func excludedGroups(t *Tree) string {
	value, _ := t.variable("RAILS_ENV")
	if railsEnv.FindStringSubmatch(value)[1] == "development" {
		return "test"
	}
	return "test:development"
}

// console puts the console into the app, for which there are a name and a password that nobody else knows.
func (rails3) console(ctx context.Context, t *Tree) error {
	if t.resource("cf-rails-console") != "" {
		if err := t.CopyResource(ctx, "cf-rails-console", "app/cf-rails-console"); err != nil {
			return err
		}
	}
	access := fmt.Sprintf("---\nusername: %s\npassword: %s\n", uuid(), uuid())
	return t.Write("app/cf-rails-console/.consoleaccess", access, 0o600)
}

// uuid returns a random UUID.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // which never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (rails3) command(r *rubyApp) string {
	switch {
	case r.bundle == nil:
		return rt + " -S thin -R config.ru $@ start"
	case r.bundle.has("thin"):
		return r.exec(r.gemScript("rails") + " server thin $@")
	}
	return r.exec(r.gemScript("rails") + " server $@")
}

// hook migrates the database, unless the app says otherwise, and starts the console where the DEA has given it a port.
func (rails3) hook(r *rubyApp) (string, error) {
	hook := rubyHook
	config, err := r.cloudfoundryYML()
	if err != nil {
		return "", err
	}
	if !config.Get("dbmigrate").IsFalse() {
		rake := "-S rake"
		if r.bundle != nil {
			rake = r.gemScript("rake")
		}
		hook += fmt.Sprintf(`
if [ -f "$PWD/app/config/database.yml" ] ; then
  cd app && %s >>../logs/migration.log 2>> ../logs/migration.log && cd ..;
fi`, r.exec(rake+" db:migrate --trace"))
	}
	return hook + fmt.Sprintf(`
if [ -n "$VCAP_CONSOLE_PORT" ]; then
  cd app
  %s >>../logs/console.log 2>> ../logs/console.log &
  CONSOLE_STARTED=$!
  echo "$CONSOLE_STARTED" >> ../console.pid
  cd ..
fi`, r.exec("cf-rails-console/rails_console.rb")), nil
}

// assetsPlugin is the file that makes Rails serve the files of the app in production: nobody else does.
const assetsPlugin = "vendor/plugins/configure_assets/init.rb"

// assets has the assets compiled. Where that fails, Rails compiles them while it runs.
func (rails3) assets(r *rubyApp) error {
	if err := r.Write("app/"+assetsPlugin, "Rails.application.config.serve_static_assets = true\n", 0o600); err != nil {
		return err
	}
	switch {
	case r.Has("app/public/assets/manifest.yml"):
		r.Log("Skipping assets compilation, detected assets manifest")
		return nil
	case r.bundle == nil, !atLeast(r.bundle.versions["rails"], 3, 1):
		r.Log("Skipping assets compilation, rails version does not support it")
		return nil
	}
	home := `"$PWD/` + r.gemDir() + `"`
	r.Run(Program{Dir: "app", Script: fmt.Sprintf(`echo "Running rake assets:precompile"
export GEM_PATH=%s:
%s %s exec %s %s assets:precompile || {
  echo "Assets precompilation failed"
  echo "Turning on live assets compilation"
  echo "Rails.application.config.assets.compile = true" >> %s
}`, home, rt, r.bundler(), rt, r.gemScript("rake"), assetsPlugin)})
	return nil
}

// atLeast compares the beginning of a version.
func atLeast(version string, major, minor int) bool {
	m := rubyVersion.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	gotMajor, err := strconv.Atoi(m[1])
	if err != nil {
		return true // more digits than a number has
	}
	gotMinor, _ := strconv.Atoi(m[2])
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}
