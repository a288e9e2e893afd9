package framework

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/tarball"
)

// Options are what all stagings of a stager share. The zero value is useful.
type Options struct {
	// Original makes scripts that are those of vcap_staging byte for byte also where they call for programs that today's
	// distributions do not have: pip at each start, manage.py syncdb, Apache 2.2. Without it such frameworks get the same form
	// of script with commands that work, Java 75 % of the memory as its heap and not all of it, and Ruby a file that makes
	// -rubygems work.
	Original bool

	// Resources is a directory of what the original brought along and this package does not have, with these names; what is
	// missing there is done without, and the log says so where an app would have used it:
	//
	//	tomcat/                        a Tomcat to put into droplets; else they run that of the machine
	//	droplet.yaml                   for a Tomcat that writes a state file
	//	auto-reconfiguration-*.jar     for Spring, Grails, Lift and Play
	//	mysql-connector-java-*.jar     the JDBC drivers
	//	postgresql-*.jdbc*.jar
	//	apache/                        an Apache 2.2 tree, for PHP in its original form
	//	cf-rails-console/              the console of Rails
	//	node_modules/cf-autoconfig/    for Node.js
	//	cf-autoconfig-0.0.4.gem        for Ruby
	//	cf-runtime-0.0.2.gem
	Resources string

	// Gems is a directory of gem files that apps with a Gemfile.lock may use next to their own in vendor/cache
	// (blessed_gems below Platform.Cache). Nothing is downloaded.
	Gems string

	// Limits bound the app, and what Resources adds to it.
	Limits droplet.Limits

	// Log gets what people should read, line by line: that is in logs/staging.log of the droplet as well. It must not fail.
	// Nil means that nobody reads along.
	Log io.Writer
}

func (o Options) limits() tarball.Limits { return tarball.Limits(o.Limits) }

// A Task is one staging.
type Task struct {
	Source     string // directory of the app, unpacked
	Dest       string // empty directory that becomes the droplet
	Properties Properties
}

// A Result is what a staging leaves to do.
type Result struct {
	// Programs must run in the droplet, in their order, before it is complete.
	Programs []Program
}

// Stage makes the droplet of an app. It reads and writes files, and starts no programs: those of the result are for whoever
// calls it, in a container as a rule. After an error the droplet is incomplete; logs/staging.log is there in any case.
//
// It fails with an [*AppError] for what is wrong with the app, with ErrArguments where a directory is not there or
// Dest is not empty, or with another error. Both directories may be full of traps: nothing outside of them is read or written.
func Stage(ctx context.Context, plugin Plugin, task Task, opts Options) (Result, error) {
	for _, dir := range []string{task.Source, task.Dest} {
		if err := checkDirectory(dir); err != nil {
			return Result{}, err
		}
	}
	if err := checkEmpty(task.Dest); err != nil {
		return Result{}, err
	}
	app, err := os.OpenRoot(task.Source)
	if err != nil {
		return Result{}, fmt.Errorf("stage %s app: %w", plugin.Name(), err)
	}
	defer app.Close()
	root, err := os.OpenRoot(task.Dest)
	if err != nil {
		return Result{}, fmt.Errorf("stage %s app: %w", plugin.Name(), err)
	}
	defer root.Close()
	t := &Tree{Properties: task.Properties, Options: opts, app: app, root: root}
	err = t.stage(ctx, plugin)
	if logged := t.Write("logs/staging.log", t.log.String(), 0o644); err == nil {
		err = logged
	}
	var wrong *AppError
	if err != nil && !errors.As(err, &wrong) {
		err = fmt.Errorf("stage %s app: %w", plugin.Name(), err)
	}
	return Result{Programs: t.programs}, err
}

func (t *Tree) stage(ctx context.Context, plugin Plugin) error {
	if err := t.Directories("logs", "tmp"); err != nil {
		return err
	}
	scripts, err := plugin.Stage(ctx, t)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if scripts.Stop == "" {
		scripts.Stop = stopBoth
	}
	if err := t.Write("startup", scripts.Startup.String(), 0o500); err != nil {
		return err
	}
	return t.Write("stop", stopScript(scripts.Stop), 0o500)
}
