package controller

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/deakit/deakit/messaging"
)

// Errors of the API; each has its status.
var (
	ErrNoApp    = errors.New("no such app")
	ErrBusy     = errors.New("the app is being pushed already")
	ErrNoDEA    = errors.New("no such DEA, or it is leaving already")
	ErrSettings = errors.New("invalid settings")
)

func newGUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (s *Settings) check() error {
	if s.Instances == 0 {
		s.Instances = 1
	}
	if s.MemoryMB == 0 {
		s.MemoryMB = 128
	}
	if s.DiskMB == 0 {
		s.DiskMB = 512
	}
	switch {
	case !validName(s.Name):
		return fmt.Errorf("%w: the name must be 1 to 63 lower-case letters, digits and dashes", ErrSettings)
	case s.Instances < 0 || s.Instances > 100:
		return fmt.Errorf("%w: instances must be from 1 to 100", ErrSettings)
	case s.MemoryMB < 8 || s.MemoryMB > 1<<20 || s.DiskMB < 8 || s.DiskMB > 1<<24:
		return fmt.Errorf("%w: memory and disk must be at least 8 MB", ErrSettings)
	}
	return nil
}

func validName(name string) bool {
	if len(name) == 0 || len(name) > 63 || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, r := range name {
		if r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}

// A rollout brings up a new release beside the old one. Instances of the old one go as their successors serve; if the
// new one does not come up, it goes and the old one stays.
type rollout struct {
	release
	settings Settings
	until    time.Time
	done     chan error // receives one result
}

// Prepare enters an app, or finds the one of this name, and marks it as being pushed. The caller puts the package into
// the blob store under the returned guid and calls Push, or Abandon, with it. The guid tells the app from one of the same
// name that is entered after this one was deleted.
func (c *Controller) Prepare(s *Settings) (guid string, err error) {
	if err := s.check(); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.apps[s.Name]
	if !ok {
		a = &app{Settings: *s, guid: newGUID(), stopped: true}
		c.apps[s.Name] = a
	}
	if a.staging {
		return "", fmt.Errorf("app %s: %w", s.Name, ErrBusy)
	}
	a.staging = true
	return a.guid, nil
}

// Abandon ends what Prepare began.
func (c *Controller) Abandon(guid string) {
	c.locked(func() {
		if a := c.byGUID(guid); a != nil {
			a.staging = false
			if a.release.version == "" && a.rollout == nil && !a.crashed {
				delete(c.apps, a.Name) // never came to anything
			}
		}
	})
}

// Push stages the prepared package and rolls the result out. It returns when every wanted instance of it runs, or with
// the reason why the app stays as it was.
func (c *Controller) Push(ctx context.Context, guid string, s Settings) error {
	defer c.Abandon(guid)
	known := false
	c.locked(func() { known = c.byGUID(guid) != nil })
	if !known {
		return fmt.Errorf("app %s: %w: it was deleted while it was uploaded", s.Name, ErrNoApp)
	}
	staged, err := c.stage(ctx, s, guid)
	if err != nil {
		c.tell(Event{Kind: "staging.failed", App: s.Name, Text: err.Error()})
		return err
	}
	return c.roll(ctx, guid, s, staged)
}

func (c *Controller) roll(ctx context.Context, guid string, s Settings, staged release) error {
	r := &rollout{release: staged, settings: s, until: time.Now().Add(c.cfg.RolloutTimeout), done: make(chan error, 1)}
	gone := false
	c.locked(func() {
		a := c.byGUID(guid)
		if a == nil {
			gone = true // deleted meanwhile
			return
		}
		a.rollout = r
		a.stopped, a.crashed = false, false
		c.tell(Event{Kind: "app.rollout", App: s.Name, Text: "version " + short(staged.version)})
		c.reconcile(time.Now())
	})
	if gone {
		return fmt.Errorf("app %s: %w: it was deleted while it was staged", s.Name, ErrNoApp)
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx) // the rollout goes on; only nobody waits for it
	}
}

// Scale sets the number of instances.
func (c *Controller) Scale(name string, instances int) error {
	return c.change(name, func(a *app) error {
		if instances < 1 || instances > 100 {
			return fmt.Errorf("%w: instances must be from 1 to 100", ErrSettings)
		}
		a.Instances = instances
		c.tell(Event{Kind: "app.scaled", App: name, Text: fmt.Sprintf("%d instances", instances)})
		return nil
	})
}

// Stop stops an app; it stays known.
func (c *Controller) Stop(name string) error {
	return c.change(name, func(a *app) error {
		a.stopped = true
		c.abort(a, errors.New("the app was stopped"))
		c.tell(Event{Kind: "app.stopped", App: name})
		return c.stopAll(a)
	})
}

// Start starts a stopped app.
func (c *Controller) Start(name string) error {
	return c.change(name, func(a *app) error {
		if a.release.version == "" {
			return fmt.Errorf("app %s has no version that came up; push it", name)
		}
		a.stopped = false
		c.tell(Event{Kind: "app.started", App: name})
		return nil
	})
}

// Delete stops an app and forgets it.
func (c *Controller) Delete(name string) error {
	return c.change(name, func(a *app) error {
		c.abort(a, errors.New("the app was deleted"))
		delete(c.apps, name)
		c.tell(Event{Kind: "app.deleted", App: name})
		return c.stopAll(a)
	})
}

// stopAll tells every DEA and stager to give up an app.
func (c *Controller) stopAll(a *app) error {
	return messaging.DEAStop.Publish(c.conn, messaging.StopMessage{Filter: messaging.Filter{Droplet: messaging.Text(a.guid)}})
}

// abort ends a rollout without success; c.mu is held.
func (c *Controller) abort(a *app, why error) {
	if a.rollout != nil {
		a.rollout.done <- why
		a.rollout = nil
	}
}

// change applies an edit to one app and sees to it that reality follows.
func (c *Controller) change(name string, edit func(*app) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.apps[name]
	if !ok {
		return fmt.Errorf("app %s: %w", name, ErrNoApp)
	}
	if err := edit(a); err != nil {
		return err
	}
	c.reconcile(time.Now())
	return nil
}

// Evacuate tells a DEA, by its id or the beginning of it, to leave.
func (c *Controller) Evacuate(dea string) error {
	var ids []string
	c.locked(func() {
		for id := range c.deas {
			if len(dea) > 0 && len(id) >= len(dea) && id[:len(dea)] == dea {
				ids = append(ids, id)
			}
		}
	})
	slices.Sort(ids)
	if len(ids) != 1 || c.cfg.Evacuate == nil || !c.cfg.Evacuate(ids[0]) {
		return fmt.Errorf("DEA %s: %w", dea, ErrNoDEA)
	}
	c.tell(Event{Kind: "dea.evacuating", DEA: ids[0]})
	return nil
}
