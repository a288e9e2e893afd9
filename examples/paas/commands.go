package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
)

type pushCmd struct {
	Dir       string   `arg:"" help:"Directory with the source of the app." type:"existingdir"`
	Name      string   `help:"Name of the app. Default: that of the directory."`
	Buildpack string   `short:"b" help:"A directory, a zip file, or a git URL with an optional #branch, tag or commit. Default: the first of the platform's own that takes the app." placeholder:"DIR|ZIP|GITURL"`
	Instances int      `short:"i" help:"Number of instances." default:"1"`
	Memory    int64    `short:"m" help:"Memory of each instance, in MB." default:"128"`
	Disk      int64    `short:"k" help:"Disk of each instance, in MB." default:"512"`
	Command   string   `short:"c" help:"Start command. Default: what the buildpack says."`
	Env       []string `short:"e" help:"NAME=value; may be repeated." sep:"none"`
	Route     []string `short:"r" help:"Host name; may be repeated. Default: <name>.<domain>." sep:"none"`
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
	settings := controller.Settings{
		Name: name, Instances: c.Instances, MemoryMB: c.Memory, DiskMB: c.Disk, Env: c.Env, Routes: c.Route,
		Command: c.Command, Buildpack: key,
	}
	show := e.screen
	if e.cli.JSON {
		show = newScreen(os.Stderr, e.cli.NoColor)
	}
	if err := pushAndShow(e.ctx, cl, show, settings, source); err != nil {
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

// uploadBuildpack puts a buildpack of this machine where the stager finds it, and returns what names it in the push.
func (c *pushCmd) uploadBuildpack(ctx context.Context, cl *client.Client) (string, error) {
	if c.Buildpack == "" || strings.Contains(c.Buildpack, "://") {
		return c.Buildpack, nil
	}
	archive, key, err := openBuildpack(c.Buildpack)
	if err != nil {
		return "", err
	}
	defer archive.Close()
	return key, cl.PutBuildpack(ctx, key, archive)
}

func portOf(addr string) string { return addr[strings.LastIndex(addr, ":"):] }

type appsCmd struct{}

func (c *appsCmd) Run(e *env) error {
	return show(e, (*client.Client).Apps, func(apps []controller.AppView) {
		e.screen.line("%-20s %-8s %-9s %8s  %s", "name", "state", "running", "memory", "routes")
		for _, a := range apps {
			e.screen.line("%-20s %-8s %-9s %5d MB  %s", a.Name, a.State, fmt.Sprintf("%d/%d", a.Running, a.Settings.Instances),
				a.MemoryMB, strings.Join(a.Routes, ", "))
		}
	})
}

type appCmd struct {
	Name string `arg:"" help:"Name of the app."`
}

func (c *appCmd) Run(e *env) error {
	ask := func(cl *client.Client, ctx context.Context) (controller.AppView, error) { return cl.App(ctx, c.Name) }
	return show(e, ask, func(app controller.AppView) {
		e.screen.line("name       %s (%s)", app.Name, app.GUID)
		e.screen.line("state      %s, %d of %d instances run", app.State, app.Running, app.Settings.Instances)
		e.screen.line("routes     %s", strings.Join(app.Routes, ", "))
		e.screen.line("buildpack  %s", app.UsedBuildpack)
		e.screen.line("command    %s", app.StartCommand)
		e.screen.line("droplet    %s", app.DropletSHA1)
		showInstances(e.screen, app)
	})
}

type deasCmd struct{}

func (c *deasCmd) Run(e *env) error {
	return show(e, (*client.Client).DEAs, func(deas []controller.DEAView) {
		e.screen.line("%-36s %-6s %9s %10s  %s", "id", "zone", "memory", "disk", "instances")
		for _, d := range deas {
			e.screen.line("%-36s %-6s %6d MB %7d MB  %s", d.ID, d.Zone, d.MemoryMB, d.DiskMB, counts(d.Instances))
		}
	})
}

// show asks the platform for something and writes it as JSON, or as people read it.
func show[T any](e *env, ask func(*client.Client, context.Context) (T, error), text func(T)) error {
	return e.with(func(cl *client.Client) error {
		answer, err := ask(cl, e.ctx)
		switch {
		case err != nil:
			return err
		case e.cli.JSON:
			return writeJSON(answer)
		default:
			text(answer)
			return nil
		}
	})
}

type scaleCmd struct {
	Name      string `arg:"" help:"Name of the app."`
	Instances int    `arg:"" help:"Number of instances."`
}

func (c *scaleCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error { return cl.Scale(e.ctx, c.Name, c.Instances) })
}

type startCmd struct {
	Name string `arg:"" help:"Name of the app."`
}

func (c *startCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error { return cl.Start(e.ctx, c.Name) })
}

type stopCmd struct {
	Name string `arg:"" help:"Name of the app."`
}

func (c *stopCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error { return cl.Stop(e.ctx, c.Name) })
}

type deleteCmd struct {
	Name string `arg:"" help:"Name of the app."`
}

func (c *deleteCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error { return cl.Delete(e.ctx, c.Name) })
}

type evacuateCmd struct {
	DEA string `arg:"" name:"dea" help:"Id of the DEA, or the beginning of it; see: paas deas."`
}

func (c *evacuateCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error { return cl.Evacuate(e.ctx, c.DEA) })
}

// with does something with the served platform.
func (e *env) with(do func(*client.Client) error) error {
	cl, err := e.dial()
	if err != nil {
		return err
	}
	defer cl.Close()
	return do(cl)
}

type logsCmd struct {
	Name   string `arg:"" help:"Name of the app."`
	Follow bool   `short:"f" help:"Go on until a signal comes."`
	Index  *int   `short:"i" help:"Only this instance. Default: all."`
	Stderr bool   `help:"What the app writes to standard error."`
}

func (c *logsCmd) Run(e *env) error {
	cl, err := e.dial()
	if err != nil {
		return err
	}
	defer cl.Close()
	app, err := cl.App(e.ctx, c.Name)
	if err != nil {
		return err
	}
	indexes := map[int]bool{}
	for _, i := range app.Instances {
		if c.Index == nil || *c.Index == i.Index {
			indexes[i.Index] = true
		}
	}
	if len(indexes) == 0 {
		return fmt.Errorf("app %s has no such instance", c.Name)
	}
	var all errgroup.Group
	for index := range indexes {
		out := &prefixWriter{prefix: fmt.Sprintf("[%s/%d] ", c.Name, index), screen: e.screen}
		all.Go(func() error { return c.copyLog(e.ctx, cl, index, out) })
	}
	return all.Wait()
}

// copyLog shows the log of one instance. A tail that the server ends for lack of news is taken up again where it was.
func (c *logsCmd) copyLog(ctx context.Context, cl *client.Client, index int, out io.Writer) error {
	file := "/logs/stdout.log"
	if c.Stderr {
		file = "/logs/stderr.log"
	}
	url, err := cl.FileURL(ctx, c.Name, index, file)
	if err != nil {
		return err
	}
	if !c.Follow {
		return copyURL(ctx, cl, url, out, nil)
	}
	var offset int64
	for {
		err := copyURL(ctx, cl, fmt.Sprintf("%s&tail&tail_offset=%d", url, offset), out, &offset)
		var answered *client.APIError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &answered):
			return nil // the instance is gone
		}
		select { // the tail ended; whoever asks again at once could do so for ever
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// copyURL copies what a URL answers, and counts it.
func copyURL(ctx context.Context, cl *client.Client, url string, out io.Writer, count *int64) error {
	response, err := cl.Fetch(ctx, url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096)) // the status says enough
		return &client.APIError{Status: response.StatusCode, Text: fmt.Sprintf("%s: %s", response.Status, strings.TrimSpace(string(text)))}
	}
	n, err := io.Copy(out, response.Body)
	if count != nil {
		*count += n
	}
	return err
}

type filesCmd struct {
	Name  string `arg:"" help:"Name of the app."`
	Path  string `arg:"" optional:"" help:"Path within the instance." default:"/"`
	Index int    `short:"i" help:"Index of the instance." default:"0"`
}

func (c *filesCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error {
		url, err := cl.FileURL(e.ctx, c.Name, c.Index, c.Path)
		if err != nil {
			return err
		}
		return copyURL(e.ctx, cl, url, os.Stdout, nil)
	})
}

type eventsCmd struct {
	Follow bool `short:"f" help:"Go on until a signal comes."`
}

func (c *eventsCmd) Run(e *env) error {
	cl, err := e.dial()
	if err != nil {
		return err
	}
	defer cl.Close()
	for event, err := range cl.Events(e.ctx, 0, c.Follow) {
		switch {
		case err != nil:
			return err
		case e.cli.JSON:
			if err := json.NewEncoder(os.Stdout).Encode(event); err != nil {
				return err
			}
		default:
			showEvent(e.screen, event)
		}
	}
	return nil
}

func writeJSON(v any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
