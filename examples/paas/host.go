package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/platform"
)

// hosting are the flags of the commands that start a platform.
type hosting struct {
	Backend  string `help:"What apps and buildpacks run in: ${enum}. auto takes the strongest that works here." enum:"${backends}" default:"process"`
	Verbose  bool   `short:"v" help:"Write the log of all parts to standard error."`
	DEAs     int    `name:"deas" help:"Number of DEAs in this process; others join over NATS." default:"2"`
	MemoryMB int64  `help:"Memory that each DEA offers, in MB." default:"2048"`
}

// Validate refuses what would be something else than was asked for.
func (h hosting) Validate() error {
	if h.DEAs < 0 {
		return fmt.Errorf("--deas %d: give 0 or more", h.DEAs)
	}
	if h.MemoryMB <= 0 {
		return fmt.Errorf("--memory-mb %d: give the megabytes that each DEA offers", h.MemoryMB)
	}
	return nil
}

func (h hosting) options(dir string) platform.Options {
	level := slog.LevelError
	if h.Verbose {
		level = slog.LevelInfo
	}
	return platform.Options{
		Dir: dir, Backend: h.Backend, DEAs: h.DEAs, MemoryMB: h.MemoryMB,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
}

// workDir makes a directory for the life of the process.
func workDir() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "deakit-paas-")
	if err != nil {
		return "", nil, err
	}
	return dir, func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "paas:", err)
		}
	}, nil
}

type demoCmd struct {
	hosting
	App         string        `help:"Directory of the app to run." default:"examples/apps/go" type:"path"`
	Memory      int           `short:"m" help:"Memory of each instance, in MB." default:"64"`
	StepTimeout time.Duration `help:"Longest time that one step may take." default:"3m"`
}

// Validate refuses what the demo could not show.
func (c *demoCmd) Validate() error {
	if c.DEAs < 2 {
		return fmt.Errorf("--deas %d: the demo moves an app from one DEA to another, so give 2 or more", c.DEAs)
	}
	return c.hosting.Validate()
}

func (c *demoCmd) Run(e *env) (err error) {
	if _, err := os.Stat(c.App); err != nil {
		return fmt.Errorf("%w; run the demo from the root of the repository, or name a directory with --app", err)
	}
	if err := backends.Enter(e.ctx, c.Backend, anyContainers()); err != nil {
		return err
	}
	dir, remove, err := workDir()
	if err != nil {
		return err
	}
	defer remove()
	begun := time.Now()
	d := &demo{cmd: c, screen: e.screen, name: "demo"}

	running, stop := context.WithCancel(context.Background())
	defer stop()
	var over errgroup.Group
	err = d.step(e.ctx, "Start all parts", func(ctx context.Context) error {
		p, err := platform.New(ctx, c.options(dir))
		if err != nil {
			return err
		}
		over.Go(func() error { return p.Run(running) })
		d.client, err = client.Dial(ctx, p.APIURL())
		if err != nil {
			return err
		}
		info := d.client.Info()
		d.screen.line("apps run in %s", p.Backend())
		d.screen.line("NATS %s, API %s, router %s", info.NATS, p.APIURL(), info.Router)
		return d.awaitDEAs(ctx, c.DEAs)
	})
	if err == nil {
		err = d.story(e.ctx)
	}
	last := d.step(context.WithoutCancel(e.ctx), "Stop everything", func(context.Context) error {
		if d.client != nil {
			d.client.Close()
		}
		stop()
		return over.Wait()
	})
	if err = errors.Join(err, last); err != nil {
		return err
	}
	d.summary(time.Since(begun))
	return nil
}

// story is what happens to the app between the start and the end of the platform.
func (d *demo) story(ctx context.Context) error {
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"Stage the app and run two instances on two DEAs", d.push},
		{"Fetch a page through the router", d.fetch},
		{"Ask for figures", d.stats},
		{"List the files of an instance by signed URL", d.list},
		{"Follow the log of an instance by signed URL", d.tail},
		{"Kill an instance and see it replaced", d.kill},
		{"Evacuate a DEA while requests come in", d.evacuate},
	} {
		if err := d.step(ctx, s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) awaitDEAs(ctx context.Context, want int) error {
	for {
		deas, err := d.client.DEAs(ctx)
		if err != nil {
			return err
		}
		if len(deas) == want {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d DEAs advertise", len(deas), want)
		}
	}
}

type serveCmd struct {
	hosting
	Dir    string `help:"Where to keep everything; apps that ran there before are ended. Default: a directory that goes with the process." type:"path"`
	Listen string `help:"Address of the API, on loopback." default:"127.0.0.1:8090"`
	Router string `help:"Address of the router, on loopback." default:"127.0.0.1:8080"`
	NATS   string `name:"nats" help:"Address of the NATS server, on loopback." default:"127.0.0.1:4222"`
	Domain string `help:"Domain of the apps." default:"paas.localhost"`
}

func (c *serveCmd) Run(e *env) error {
	if err := backends.Enter(e.ctx, c.Backend, anyContainers()); err != nil {
		return err
	}
	dir := c.Dir
	if dir == "" {
		temporary, remove, err := workDir()
		if err != nil {
			return err
		}
		defer remove()
		dir = temporary
	}
	opts := c.options(dir)
	opts.APIAddr, opts.RouterAddr, opts.NATSAddr, opts.Domain = c.Listen, c.Router, c.NATS, c.Domain
	p, err := platform.New(e.ctx, opts)
	if err != nil {
		return err
	}
	info := p.Info()
	e.screen.line("apps run in %s", p.Backend())
	e.screen.line("API     %s", p.APIURL())
	e.screen.line("router  http://%s, apps at <name>.%s", info.Router, info.Domain)
	e.screen.line("NATS    %s", info.NATS)
	if c.DEAs == 0 {
		e.screen.line("DEAs    none in this process: apps run where one joins over NATS")
	}
	e.screen.line("Push an app with: paas push DIR")
	return p.Run(e.ctx)
}

type doctorCmd struct {
	Backend string `help:"What apps and buildpacks would run in: ${enum}." enum:"${backends}" default:"auto"`
}

func (c *doctorCmd) Run(e *env) error {
	return backends.Doctor(e.ctx, e.screen.out, c.Backend, anyContainers())
}

// anyContainers is a place for containers on which it does not depend which back end works. What is tried is tried beside it:
// in the directory for temporary files itself, not in one that another user could have made there.
func anyContainers() backends.Config {
	return backends.Config{Depot: filepath.Join(os.TempDir(), "deakit-paas-containers"), Fresh: true}
}
