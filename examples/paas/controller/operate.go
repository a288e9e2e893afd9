package controller

import (
	"errors"
	"fmt"
	"time"

	"github.com/deakit/deakit/messaging"
)

// Scale sets the number of instances.
func (c *Controller) Scale(name string, instances int) error {
	return c.change(name, func(a *app) error {
		if instances < 1 || instances > 100 {
			return fmt.Errorf("%w: instances must be from 1 to 100", ErrSettings)
		}
		a.Instances = instances
		if a.rollout != nil {
			a.rollout.settings.Instances = instances
		}
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
		c.deleted[a.guid] = deletion{name, time.Now()}
		c.logs.drop(a.guid)
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
