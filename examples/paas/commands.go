package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/staging/framework"
)

func portOf(addr string) string { return addr[strings.LastIndex(addr, ":"):] }

type appsCmd struct{}

func (c *appsCmd) Run(e *env) error {
	return show(e, (*client.Client).Apps, func(apps []controller.AppView) {
		e.screen.line("%-20s %-8s %-9s %8s  %-22s %s", "name", "state", "running", "memory", "staged by", "routes")
		for _, a := range apps {
			e.screen.line("%-20s %-8s %-9s %5d MB  %-22s %s", a.Name, a.State, fmt.Sprintf("%d/%d", a.Running, a.Settings.Instances),
				a.MemoryMB, stagedBy(a), strings.Join(a.Routes, ", "))
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
		if app.Framework != "" {
			e.screen.line("framework  %s", app.Framework)
		}
		if app.Framework == "" || app.Framework == framework.BuildpackName {
			e.screen.line("buildpack  %s", buildpackOf(app))
		}
		e.screen.line("command    %s", app.StartCommand)
		e.screen.line("droplet    %s", app.DropletSHA1)
		showInstances(e.screen, app)
	})
}

// stagedBy names the framework that staged an app, or the buildpack.
func stagedBy(app controller.AppView) string {
	if app.Framework != "" {
		return "framework " + app.Framework
	}
	return buildpackOf(app)
}

// buildpackOf names the buildpack that staged an app: what it says of itself, or what was given.
func buildpackOf(app controller.AppView) string {
	if app.UsedBuildpack != "" {
		return app.UsedBuildpack
	}
	given, err := url.Parse(app.Buildpack)
	if err != nil {
		return "" // no buildpack that staged anything
	}
	if given.Scheme != "" {
		return given.Redacted()
	}
	name, _, _ := strings.Cut(app.Buildpack, "_") // before the digest
	return name
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
	return e.with(func(cl *client.Client) error {
		if err := cl.Scale(e.ctx, c.Name, c.Instances); err != nil {
			return err
		}
		return e.tellApp(cl, c.Name)
	})
}

type startCmd struct {
	Name string `arg:"" help:"Name of the app."`
}

func (c *startCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error {
		if err := cl.Start(e.ctx, c.Name); err != nil {
			return err
		}
		return e.tellApp(cl, c.Name)
	})
}

type stopCmd struct {
	Name string `arg:"" help:"Name of the app."`
}

func (c *stopCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error {
		if err := cl.Stop(e.ctx, c.Name); err != nil {
			return err
		}
		return e.tellApp(cl, c.Name)
	})
}

// tellApp says what an app is after it was changed.
func (e *env) tellApp(cl *client.Client, name string) error {
	app, err := cl.App(e.ctx, name)
	switch {
	case err != nil:
		return err
	case e.cli.JSON:
		return writeJSON(app)
	default:
		e.screen.line("%s is %s, %d of %d instances run", app.Name, app.State, app.Running, app.Settings.Instances)
		return nil
	}
}

type deleteCmd struct {
	Name string `arg:"" help:"Name of the app."`
}

func (c *deleteCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error {
		if err := cl.Delete(e.ctx, c.Name); err != nil {
			return err
		}
		if !e.cli.JSON {
			e.screen.line("%s is deleted", c.Name)
		}
		return nil
	})
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

// copyURL copies what a URL answers.
func copyURL(ctx context.Context, cl *client.Client, url string, out io.Writer) error {
	return copyURLAs(ctx, cl, url, "", out)
}

// copyURLAs prefers a media type.
func copyURLAs(ctx context.Context, cl *client.Client, url, mediaType string, out io.Writer) error {
	response, err := cl.FetchAs(ctx, url, mediaType)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096)) // the status says enough
		why := struct {
			Error string `json:"error"`
		}{strings.TrimSpace(string(text))}
		_ = json.Unmarshal(text, &why) // what is no JSON stays as it is
		return &client.APIError{Status: response.StatusCode, Text: response.Status + ": " + why.Error}
	}
	_, err = io.Copy(out, response.Body)
	return err
}

type filesCmd struct {
	Name  string `arg:"" help:"Name of the app."`
	Path  string `arg:"" optional:"" help:"Path within the instance." default:"/"`
	Index int    `short:"i" help:"Index of the instance." default:"0"`
	URL   bool   `name:"url" help:"Show the signed URL instead, which is good for an hour, with any client: curl \"$(paas files --url NAME PATH)&archive=zip\"."`
}

func (c *filesCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error {
		signed, err := cl.FileURL(e.ctx, c.Name, c.Index, c.Path)
		if err != nil {
			return err
		}
		if c.URL {
			return c.show(e, cl, signed)
		}
		mediaType := ""
		if e.cli.JSON {
			mediaType = "application/json" // of a directory; a file is what it is
		}
		err = copyURLAs(e.ctx, cl, signed, mediaType, os.Stdout)
		answered := new(client.APIError)
		switch {
		case errors.As(err, &answered) && answered.Status == http.StatusNotFound:
			return fmt.Errorf("instance %d of app %s has no file or directory %q; to see what there is: paas files %s", c.Index, c.Name, c.Path, c.Name)
		case errors.As(err, &answered) && answered.Status == http.StatusForbidden:
			return fmt.Errorf("instance %d of app %s: %q may not be read, or leads out of the instance", c.Index, c.Name, c.Path)
		}
		return err
	})
}

// show writes the URL with the port of the router, which the platform leaves out where it signs: it does not matter to the signature.
func (c *filesCmd) show(e *env, cl *client.Client, signed string) error {
	u, err := url.Parse(signed)
	if err != nil {
		return err
	}
	u.Host = u.Hostname() + portOf(cl.Info().Router)
	if e.cli.JSON {
		return writeJSON(map[string]string{"url": u.String()})
	}
	e.screen.line("%s", u)
	return nil
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
