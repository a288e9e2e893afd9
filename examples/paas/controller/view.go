package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/deakit/deakit/messaging"
)

// An AppView is what the API tells of an app.
type AppView struct {
	Settings
	GUID          string   `json:"guid"`
	Routes        []string `json:"routes"`
	State         string   `json:"state"` // STARTED, STOPPED, STAGING, or CRASHED when its first version did not come up
	Version       string   `json:"version,omitempty"`
	DropletSHA1   string   `json:"droplet_sha1,omitempty"`
	UsedBuildpack string   `json:"detected_buildpack,omitempty"`
	StartCommand  string   `json:"start_command,omitempty"`
	Running       int      `json:"running"`

	Instances []messaging.FoundInstance `json:"found_instances,omitempty"` // with their figures, when one app is asked for
}

// A DEAView is what the API tells of a DEA.
type DEAView struct {
	ID        string         `json:"id"`
	MemoryMB  int64          `json:"available_memory_mb"`
	DiskMB    int64          `json:"available_disk_mb"`
	Zone      string         `json:"zone"`
	Instances map[string]int `json:"instances"` // by the name of the app
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

// view describes an app; c.mu is held.
func (c *Controller) view(a *app) AppView {
	v := AppView{
		Settings: a.Settings, GUID: a.guid, Routes: a.routes(c.cfg.Domain), State: "STARTED", Version: a.release.version,
		DropletSHA1: a.release.sha1, UsedBuildpack: a.release.buildpack, StartCommand: cmp.Or(a.Command, a.release.command),
	}
	switch {
	case a.staging && a.release.version == "":
		v.State = "STAGING"
	case a.crashed:
		v.State = "CRASHED"
	case a.stopped:
		v.State = "STOPPED"
	}
	for _, i := range c.monitor.Instances(a.guid, time.Now()) {
		if i.State == messaging.Running || i.State == messaging.Evacuating {
			v.Running++
		}
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
	v, expect := c.view(a), len(c.monitor.Instances(a.guid, time.Now()))
	c.mu.Unlock()
	v.Instances = c.find(ctx, messaging.FindMessage{
		Filter: messaging.Filter{Droplet: messaging.Text(v.GUID)}, IncludeStats: true,
	}, expect)
	return v, nil
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
			guid = a.guid
		}
		for _, i := range c.monitor.Instances(guid, time.Now()) {
			if i.Index == index {
				expect++
			}
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

// DEAs lists the DEAs that offer capacity.
func (c *Controller) DEAs() []DEAView {
	views := []DEAView{}
	c.locked(func() {
		for _, id := range slices.Sorted(maps.Keys(c.deas)) {
			o := c.deas[id]
			v := DEAView{ID: id, MemoryMB: o.memory, DiskMB: o.disk, Zone: o.zone, Instances: map[string]int{}}
			for guid, n := range o.apps {
				name := guid
				if a := c.byGUID(guid); a != nil {
					name = a.Name
				}
				v.Instances[name] = n
			}
			views = append(views, v)
		}
	})
	return views
}
