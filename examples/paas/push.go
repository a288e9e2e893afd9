package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/staging/buildpack"
)

type pushCmd struct {
	Dir       string   `arg:"" help:"Directory with the source of the app." type:"existingdir"`
	Name      string   `help:"Name of the app. Default: that of the directory."`
	Buildpack string   `short:"b" help:"A directory, a zip or tgz file, the URL of one with an optional #sha256=DIGEST, or a git URL with an optional #branch, tag or commit. The first of the platform's own that takes the app, for a new app or with the word default." placeholder:"DIR|FILE|URL"`
	Framework string   `help:"Stage the app as before there were buildpacks, by the plugin of a framework: ${frameworks}. The word default goes back to buildpacks." placeholder:"NAME"`
	Runtime   string   `help:"What runs an app that a framework stages: ${runtimes}, or a name of that time, as ruby19. The first one of the framework for a new app, or with the word default." placeholder:"NAME"`
	Instances *int     `short:"i" help:"Number of instances; 1 for a new app." placeholder:"N"`
	Memory    *int64   `short:"m" help:"Memory of each instance, in MB; 128 for a new app." placeholder:"MB"`
	Disk      *int64   `short:"k" help:"Disk of each instance, in MB; 512 for a new app." placeholder:"MB"`
	Command   string   `short:"c" help:"Start command; what the buildpack says for a new app, or with the word default." placeholder:"COMMAND"`
	Env       []string `short:"e" help:"Sets a variable, or with the name alone removes it; may be repeated." sep:"none" placeholder:"NAME=VALUE"`
	Route     []string `short:"r" help:"Host name, instead of those of before; may be repeated. <name>.<domain> for a new app, or with the word default." sep:"none" placeholder:"HOST"`
}

func (c *pushCmd) Help() string {
	return "A second push of the same app rolls out a new version. What its flags leave out stays as it is."
}

// Validate refuses what would not be told from a flag that is not there.
func (c *pushCmd) Validate() error {
	if given(c.Instances) < 0 || given(c.Memory) < 0 || given(c.Disk) < 0 {
		return errors.New("instances, memory and disk must be 1 or more")
	}
	return nil
}

// given is a figure that was given, 0 if none was, and -1 if it makes no sense.
func given[T int | int64](n *T) T {
	switch {
	case n == nil:
		return 0
	case *n < 1:
		return -1
	default:
		return *n
	}
}

func (c *pushCmd) Run(e *env) error {
	cl, err := e.dial()
	if err != nil {
		return err
	}
	defer cl.Close()
	name := c.Name
	if name == "" {
		absolute, err := filepath.Abs(c.Dir)
		if err != nil {
			return err
		}
		name = strings.ToLower(filepath.Base(absolute))
	}
	key, err := c.uploadBuildpack(e.ctx, cl)
	if err != nil {
		return err
	}
	source, err := packSource(e.ctx, c.Dir)
	if err != nil {
		return err
	}
	defer source.Close()
	settings := controller.Settings{ // what is zero was left out
		Name: name, Instances: given(c.Instances), MemoryMB: given(c.Memory), DiskMB: given(c.Disk), Env: c.Env, Routes: c.Route,
		Command: c.Command, Buildpack: key, Framework: c.Framework, Runtime: c.Runtime,
	}
	show := e.screen
	if e.cli.JSON {
		show = newScreen(os.Stderr, e.cli.NoColor)
	}
	if err := pushAndShow(e.ctx, cl, show, settings, source); err != nil {
		c.showCrash(e.ctx, cl, show, err)
		return err
	}
	app, err := cl.App(e.ctx, name)
	if err != nil {
		return err
	}
	if e.cli.JSON {
		return writeJSON(app)
	}
	for _, route := range app.Routes {
		e.screen.line("Reached at http://%s%s/", route, portOf(cl.Info().Router))
	}
	return nil
}

// showCrash shows the last lines of the instance that made a push fail.
func (c *pushCmd) showCrash(ctx context.Context, cl *client.Client, s *screen, err error) {
	var push *client.PushError
	if !errors.As(err, &push) || push.Instance == "" {
		return
	}
	if words := lastWords(ctx, cl, push.App, push.Instance); len(words) > 0 {
		s.line("The last lines of the instance that crashed:")
		s.quote(strings.Join(words, "\n"))
	}
}

// uploadBuildpack puts a buildpack of this machine where the stager finds it, and returns what names it in the push.
func (c *pushCmd) uploadBuildpack(ctx context.Context, cl *client.Client) (string, error) {
	if c.Buildpack == "" || c.Buildpack == controller.Default {
		return c.Buildpack, nil
	}
	source, err := buildpack.ParseSource(c.Buildpack)
	if err != nil {
		return "", err
	}
	if !source.Local() {
		return c.Buildpack, nil
	}
	archive, key, err := openBuildpack(source)
	if err != nil {
		return "", err
	}
	defer archive.Close()
	return key, cl.PutBuildpack(ctx, key, archive)
}

// pushAndShow pushes an app and shows what happens, the staging log included.
func pushAndShow(ctx context.Context, cl *client.Client, s *screen, settings controller.Settings, source io.Reader) error {
	logs, endLogs := context.WithCancel(ctx)
	var following sync.WaitGroup
	err := cl.Push(ctx, settings, source, func(e controller.Event) {
		switch e.Kind {
		case "staging.log":
			following.Go(func() {
				// The log ends with 404 when the task is over; that it cannot be shown is no reason to fail.
				_ = copyURL(logs, cl, e.Text+"&tail&tail_offset=0", &prefixWriter{prefix: "    ", screen: s})
			})
		case "staging.finished", "staging.failed":
			// The log comes by another way than the events; its last lines are given the time to arrive.
			time.AfterFunc(100*time.Millisecond, endLogs)
			following.Wait()
			showEvent(s, e)
		default:
			showEvent(s, e)
		}
	})
	endLogs()
	following.Wait()
	return err
}
