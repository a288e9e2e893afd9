package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/messaging"
)

type logsCmd struct {
	Name   string `arg:"" help:"Name of the app."`
	Follow bool   `short:"f" help:"Go on until a signal comes, with instances that are started meanwhile, too."`
	Index  *int   `short:"i" help:"Only of this instance. Default: of all."`
	Stderr bool   `help:"Only what the app writes to standard error. Default: both, and what DEAs tell of the app."`
}

func (c *logsCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error {
		app, err := cl.App(e.ctx, c.Name)
		if err != nil {
			return err
		}
		if c.Follow {
			c.warn(app)
		}
		shown := 0
		for line, err := range cl.Logs(e.ctx, c.Name, c.Follow) {
			if err != nil {
				return err
			}
			if !c.wanted(line) {
				continue
			}
			shown++
			if err := showLine(e, c.Name, line); err != nil {
				return err
			}
		}
		switch {
		case c.Follow && e.ctx.Err() == nil:
			return errors.New("the log ended: the app was deleted, or the platform stopped")
		case c.Follow:
			return nil
		}
		files, err := c.files(e, cl, app)
		if err == nil && shown+files == 0 && c.Index != nil && !hasIndex(app, *c.Index) {
			err = fmt.Errorf("app %s has no instance %d, and no log of one", c.Name, *c.Index)
		}
		return err
	})
}

func (c *logsCmd) wanted(line messaging.AppLogLine) bool {
	return (c.Index == nil || line.Index != nil && *c.Index == *line.Index) &&
		(!c.Stderr || line.Stream == applog.Stderr && line.Source == applog.App)
}

func hasIndex(app controller.AppView, index int) bool {
	return slices.ContainsFunc(app.Instances, func(i messaging.FoundInstance) bool { return i.Index == index })
}

// showLine shows one line with its time and where it comes from, as in "[app/0]", "[app/0 err]" or "[app/0 dea]".
func showLine(e *env, name string, line messaging.AppLogLine) error {
	if e.cli.JSON {
		return json.NewEncoder(os.Stdout).Encode(line)
	}
	from := name
	if line.Index != nil {
		from += fmt.Sprintf("/%d", *line.Index)
	}
	switch {
	case line.Source != applog.App:
		from += " " + strings.ToLower(string(line.Source))
	case line.Stream == applog.Stderr:
		from += " err"
	}
	e.screen.line("%s  [%s] %s", line.Time.Local().Format("15:04:05.000"), printable(from), printable(line.Text))
	return nil
}

// warn says which instances cannot be followed.
func (c *logsCmd) warn(app controller.AppView) {
	for _, i := range app.Instances {
		if slices.Contains(app.Silent, i.Instance) && i.State == messaging.Running && (c.Index == nil || *c.Index == i.Index) {
			fmt.Fprintf(os.Stderr, "paas: instance %d cannot be followed: DEA %s sends no log lines; see: paas files -i %d %s logs/stdout.log\n",
				i.Index, short(i.DEA), i.Index, c.Name)
		}
	}
}

// files shows the log files of instances whose DEAs send no lines, and counts them.
func (c *logsCmd) files(e *env, cl *client.Client, app controller.AppView) (int, error) {
	if e.cli.JSON {
		return 0, nil // nobody knows the times
	}
	path := "/logs/stdout.log"
	if c.Stderr {
		path = "/logs/stderr.log"
	}
	count := 0
	for _, i := range app.Instances {
		if !slices.Contains(app.Silent, i.Instance) || c.Index != nil && *c.Index != i.Index || i.State == messaging.Stopping {
			continue
		}
		count++
		url, err := cl.FileURL(e.ctx, c.Name, i.Index, path)
		if err != nil {
			return count, err
		}
		out := &prefixWriter{prefix: fmt.Sprintf("%-12s  [%s/%d] ", "", c.Name, i.Index), screen: e.screen}
		if err := copyURL(e.ctx, cl, url, out); err != nil {
			return count, fmt.Errorf("instance %d of app %s, %s: %w", i.Index, c.Name, path, err)
		}
	}
	return count, nil
}

// lastWords are the last lines of an instance that crashed. They come by another way than the news of the crash, and are waited
// for a little; the last one is that by which the DEA tells of it.
func lastWords(ctx context.Context, cl *client.Client, app, instance string) []string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var words []string
	for line, err := range cl.Logs(ctx, app, true) {
		switch {
		case err != nil:
			return words // they are a help, no more
		case line.Instance != instance:
		case line.Source == applog.App:
			words = append(words, line.Text)
			words = words[max(0, len(words)-10):]
		case strings.Contains(line.Text, " crashed: "):
			return words
		}
	}
	return words
}
