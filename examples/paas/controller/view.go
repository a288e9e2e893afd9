package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deakit/deakit/messaging"
)

// An AppView is what the API tells of an app.
type AppView struct {
	Settings
	GUID          string   `json:"guid"`
	Routes        []string `json:"routes"`
	State         string   `json:"state"` // see view
	Version       string   `json:"version,omitempty"`
	DropletSHA1   string   `json:"droplet_sha1,omitempty"`
	UsedBuildpack string   `json:"detected_buildpack,omitempty"`
	StartCommand  string   `json:"start_command,omitempty"`
	Running       int      `json:"running"` // of the wanted indexes, those that have an instance that serves

	// When one app is asked for: its instances with their figures, and of indexes without, the one that crashed last.
	Instances []messaging.FoundInstance `json:"found_instances,omitempty"`

	// Those of them of which no log line has come, as their DEAs send none: what they wrote is in their files only.
	Silent []string `json:"silent,omitempty"`
}

// Apps lists all apps by name.
func (c *Controller) Apps() []AppView {
	views := []AppView{}
	c.locked(func() {
		for _, a := range c.sorted() {
			views = append(views, c.view(a))
		}
	})
	return views
}

// view describes an app; c.mu is held. Its state is STARTED, STAGING before the first version, CRASHED when that did not come
// up, STOPPING while instances live that should not, or STOPPED.
func (c *Controller) view(a *app) AppView {
	v := AppView{
		Settings: a.Settings, GUID: a.guid, Routes: a.routes(c.cfg.Domain), State: "STARTED", Version: a.release.version,
		DropletSHA1: a.release.sha1, UsedBuildpack: a.release.buildpack, StartCommand: cmp.Or(a.Command, a.release.command),
	}
	living, serving := 0, map[int]bool{}
	for _, i := range c.monitor.Instances(a.guid, time.Now()) {
		if i.State != messaging.Crashed {
			living++
		}
		if i.Index < a.Instances && (i.State == messaging.Running || i.State == messaging.Evacuating) {
			serving[i.Index] = true
		}
	}
	switch {
	case a.staging && a.release.version == "":
		v.State = "STAGING"
	case a.crashed:
		v.State = "CRASHED"
	case a.stopped && living > 0:
		v.State = "STOPPING"
	case a.stopped:
		v.State = "STOPPED"
	}
	if !a.stopped { // what was told to stop serves nobody any more
		v.Running = len(serving)
	}
	return v
}

// App describes one app, with the figures that its DEAs have of its instances.
func (c *Controller) App(ctx context.Context, name string) (AppView, error) {
	c.mu.Lock()
	a, ok := c.apps[name]
	if !ok {
		c.mu.Unlock()
		return AppView{}, fmt.Errorf("app %s: %w", name, ErrNoApp)
	}
	v, expect := c.view(a), c.expected(a, -1)
	c.mu.Unlock()
	found := c.find(ctx, messaging.FindMessage{
		Filter: messaging.Filter{Droplet: messaging.Text(v.GUID)}, IncludeStats: true,
	}, expect)
	v.Instances = worthShowing(found, v.Settings.Instances)
	for _, i := range v.Instances {
		if c.logs.silent(v.GUID, i.Instance) {
			v.Silent = append(v.Silent, i.Instance)
		}
	}
	return v, nil
}

// expected is how many instances of an app, crashed ones included, should answer; of one index, or of all if that is negative.
// c.mu is held.
func (c *Controller) expected(a *app, index int) int {
	known := map[string]bool{}
	for _, i := range c.monitor.Instances(a.guid, time.Now()) {
		if index < 0 || i.Index == index {
			known[i.Instance] = true
		}
	}
	for i, was := range a.crashes { // heartbeats tell of these later
		if index < 0 || i == index {
			known[was.instance] = true
		}
	}
	return len(known)
}

// worthShowing leaves out crashed instances but for the last one of each wanted index that has no other.
func worthShowing(found []messaging.FoundInstance, indexes int) []messaging.FoundInstance {
	best := map[int]messaging.FoundInstance{}
	for _, i := range found {
		other, ok := best[i.Index]
		crashed := i.State == messaging.Crashed
		if !ok || !crashed || other.State == messaging.Crashed && i.StateTimestamp > other.StateTimestamp {
			best[i.Index] = i
		}
	}
	return slices.DeleteFunc(found, func(i messaging.FoundInstance) bool {
		return i.State == messaging.Crashed && (i.Index >= indexes || best[i.Index].Instance != i.Instance)
	})
}

// find collects the answers to a question, until as many have come as are expected or half a second is over: nobody
// says that there is nothing to say.
func (c *Controller) find(ctx context.Context, m messaging.FindMessage, expect int) []messaging.FoundInstance {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	found := []messaging.FoundInstance{}
	if expect == 0 {
		return found
	}
	for answer, err := range messaging.DEAFindDroplet.AskAll(ctx, c.conn, m) {
		if err != nil {
			c.log.Warn("controller.find.failed", "error", err)
			continue
		}
		if found = append(found, answer); len(found) == expect {
			break
		}
	}
	slices.SortFunc(found, func(a, b messaging.FoundInstance) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Instance, b.Instance))
	})
	return found
}

// FileURL returns the signed URL of a path of an instance, crashed ones included.
func (c *Controller) FileURL(ctx context.Context, name string, index int, path string) (string, error) {
	var guid string
	expect := 0
	c.locked(func() {
		if a := c.apps[name]; a != nil {
			guid, expect = a.guid, c.expected(a, index)
		}
	})
	if guid == "" {
		return "", fmt.Errorf("app %s: %w", name, ErrNoApp)
	}
	found := c.find(ctx, messaging.FindMessage{
		Filter: messaging.Filter{
			Droplet: messaging.Text(guid), Indices: messaging.Indices{index},
			States: messaging.Names{messaging.Running, messaging.Evacuating, messaging.Starting, messaging.Crashed},
		},
		Path: messaging.Present(path),
	}, max(expect, 1))
	slices.SortStableFunc(found, func(a, b messaging.FoundInstance) int {
		return cmp.Or(cmp.Compare(rank(a.State), rank(b.State)), cmp.Compare(b.StateTimestamp, a.StateTimestamp))
	})
	if len(found) == 0 || found[0].FileURIV2 == "" {
		return "", fmt.Errorf("app %s has no instance %d with files", name, index)
	}
	return found[0].FileURIV2, nil
}

// rank orders the states by how likely somebody means such an instance.
func rank(s messaging.State) int {
	return slices.Index([]messaging.State{messaging.Running, messaging.Evacuating, messaging.Starting, messaging.Crashed}, s)
}
