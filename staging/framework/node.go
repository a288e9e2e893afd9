package framework

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/globs"
	"github.com/deakit/deakit/staging/framework/internal/loose"
	"github.com/deakit/deakit/staging/framework/internal/words"
)

type node struct{}

func (node) Name() string { return "node" }

func (p node) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	if err := t.CopyApp(ctx, ".", "app"); err != nil {
		return Scripts{}, err
	}
	config, err := readJSON(t, "app/cloudfoundry.json")
	if err != nil {
		return Scripts{}, err
	}
	command, err := p.command(ctx, t)
	if err != nil {
		return Scripts{}, err
	}
	p.modules(t, config)
	if command, err = p.autoconfig(ctx, t, config, command); err != nil {
		return Scripts{}, err
	}
	startup := Startup{Command: fmt.Sprintf("%s $NODE_ARGS %s $@", rt, command)}
	if !t.Options.Original { // without auto-reconfiguration, nothing else tells an app of today its port
		startup.Env = map[string]string{"PORT": "$VCAP_APP_PORT"}
	}
	return Scripts{Startup: startup}, nil
}

// readJSON reads a file of the app; null if it is not there. One that is cut short is passed over, as it was by the
// original.
func readJSON(t *Tree, name string) (loose.Value, error) {
	data, there, err := t.Read(name)
	if err != nil || !there {
		return loose.Value{}, err
	}
	v, err := loose.JSON(data)
	if errors.Is(err, loose.ErrCutShort) {
		t.Log("%s is cut short and is passed over.", strings.TrimPrefix(name, "app/"))
		return loose.Value{}, nil
	}
	if err != nil {
		return loose.Value{}, wrong("%s cannot be read: %w", strings.TrimPrefix(name, "app/"), err)
	}
	return v, nil
}

var nodeProgram = regexp.MustCompile(`(?m)^\s*node\s+`)

// mainFiles are names that main files have. Of those that are there, the last one is taken (vcap_staging).
var mainFiles = []string{"server.js", "app.js", "index.js", "main.js", "application.js"}

// command is what follows the executable: what package.json says, or a file that looks like the main one.
func (p node) command(ctx context.Context, t *Tree) (string, error) {
	pkg, err := readJSON(t, "app/package.json")
	if err != nil {
		return "", err
	}
	if start := pkg.Get("scripts").Get("start").Text(); start != "" {
		if at := nodeProgram.FindStringIndex(start); at != nil {
			start = start[:at[0]] + start[at[1]:]
		}
		return start, nil
	}
	files, err := t.matching(ctx, p.Name())
	if err != nil {
		return "", err
	}
	main := ""
	if len(files) == 1 {
		main = files[0]
	} else {
		for _, name := range mainFiles {
			if slices.Contains(files, name) {
				main = name
			}
		}
	}
	if main == "" {
		return "", wrong("Unable to determine Node.js startup command")
	}
	return scriptName(main), nil
}

// modules has the modules of npm-shrinkwrap.json installed. That they cannot be is no failure.
func (node) modules(t *Tree, config loose.Value) {
	npm := t.Properties.Runtime.NPM
	if npm == "" {
		return
	}
	if !t.Has("app/npm-shrinkwrap.json") {
		t.Log("Skipping npm support: npm-shrinkwrap.json is not provided")
		return
	}
	script := words.Quote(npm)
	if strings.HasSuffix(npm, ".js") {
		script = rt + " " + script
	}
	if config.Get("ignoreNodeModules").IsTrue() {
		t.Log("ignoreNodeModules of cloudfoundry.json is deprecated.")
		script = "rm -rf node_modules && " + script
	}
	t.Run(Program{Dir: "app", Script: fmt.Sprintf(`echo "Installing dependencies. Node version $(%s -v)"
%s install --production --no-audit --no-fund || echo "Failed installing dependencies: npm exited with status $?"`, rt, script)})
}

const (
	autoconfigModule = "node_modules/cf-autoconfig"
	bootstrapFile    = "autoconfig.js"
)

// autoconfig puts a module before the main file of the app that configures it by its services, where the stager has that
// and the app does not say otherwise. It returns the command.
func (node) autoconfig(ctx context.Context, t *Tree, config loose.Value, command string) (string, error) {
	if config.Get("cfAutoconfig").IsFalse() || t.Options.Resources == "" || hasRuntimeModule(t) {
		return command, nil
	}
	if t.resource(autoconfigModule) == "" {
		t.Log("Auto-reconfiguration disabled because the stager does not have its module.")
		return command, nil
	}
	args, err := words.Split(command)
	if err != nil || len(args) == 0 {
		return "", wrong("Unable to determine Node.js startup command: %q cannot be split into words", command)
	}
	if err := t.CopyResource(ctx, autoconfigModule, "app/"+autoconfigModule); err != nil {
		return "", err
	}
	main, err := json.Marshal(args[0]) // a string of JavaScript, too
	if err != nil {
		return "", err
	}
	bootstrap := fmt.Sprintf(`process.argv[1] = require("path").resolve(%s);
require("cf-autoconfig");
process.nextTick(require("module").Module.runMain);
`, main)
	if err := t.Write("app/"+bootstrapFile, bootstrap, 0o644); err != nil {
		return "", err
	}
	args[0] = bootstrapFile
	return words.Join(args), nil
}

// hasRuntimeModule tells whether the app configures itself.
func hasRuntimeModule(t *Tree) bool {
	app, err := t.sub("app")
	if err != nil {
		return false
	}
	defer app.Close()
	found, err := globs.Find(app.FS(), "**/cf-runtime/package.json")
	return err == nil && len(found) > 0
}
