package controller

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Errors of the API; each has its status.
var (
	ErrNoApp    = errors.New("no such app")
	ErrBusy     = errors.New("the app is being pushed already")
	ErrSettings = errors.New("invalid settings")

	ErrNoDEA     = errors.New("no such DEA")
	ErrAmbiguous = errors.New("several DEAs have an id that begins so; give more of it")
	ErrLeaving   = errors.New("it is leaving already")
	ErrElsewhere = errors.New("it is no part of this process, and has to be told by a signal: USR2 evacuates it")
	ErrLastDEA   = errors.New("no other DEA takes instances, so its apps would end; force it if you want that")
)

func newGUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// A rollout brings up a new release beside the old one. Instances of the old one go as their successors serve; if the
// new one does not come up, it goes and the old one stays.
type rollout struct {
	release
	settings Settings
	until    time.Time
	starved  time.Time  // since when no DEA has room and nothing starts; zero when that is not so
	done     chan error // receives one result
}

// A CrashError tells that an instance of a new version crashed.
type CrashError struct {
	Instance string // guid
	Index    int
	Why      string
}

func (e *CrashError) Error() string {
	return fmt.Sprintf("instance %d of the new version crashed: %s", e.Index, e.Why)
}

// Prepare enters an app, or finds the one of this name, and marks it as being pushed. The caller puts the package into
// the blob store under the returned guid and calls Push, or Abandon, with it. The guid tells the app from one of the same
// name that is entered after this one was deleted.
func (c *Controller) Prepare(wish Settings) (guid string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.apps[wish.Name]
	if !ok {
		a = &app{guid: newGUID(), stopped: true, crashes: map[int]crash{}}
	}
	settings := wish.over(a.Settings)
	if err := settings.check(); err != nil {
		return "", err
	}
	if a.staging {
		return "", fmt.Errorf("app %s: %w", wish.Name, ErrBusy)
	}
	if !ok {
		a.Settings = settings
		c.apps[a.Name] = a
		c.logs.open(a.guid)
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
				c.logs.drop(a.guid)
			}
		}
	})
}

// Push stages the prepared package and rolls the result out; what the wish leaves out stays as it is. It returns when every
// wanted instance of it runs, or with the reason why the app stays as it was: a *StagingError, or a *CrashError among others.
func (c *Controller) Push(ctx context.Context, guid string, wish Settings) error {
	defer c.Abandon(guid)
	settings, known := c.settled(guid, wish)
	if !known {
		return fmt.Errorf("app %s: %w: it was deleted while it was uploaded", wish.Name, ErrNoApp)
	}
	staged, err := c.stage(ctx, settings, guid)
	if err != nil {
		c.tell(Event{Kind: "staging.failed", App: wish.Name, Text: err.Error()})
		return &StagingError{err}
	}
	return c.roll(ctx, guid, wish, staged)
}

// settled completes a wish by what holds now.
func (c *Controller) settled(guid string, wish Settings) (s Settings, known bool) {
	c.locked(func() {
		if a := c.byGUID(guid); a != nil {
			s, known = wish.over(a.Settings), true
		}
	})
	return s, known
}

func (c *Controller) roll(ctx context.Context, guid string, wish Settings, staged release) error {
	r := &rollout{release: staged, until: time.Now().Add(c.cfg.RolloutTimeout), done: make(chan error, 1)}
	gone := false
	c.locked(func() {
		a := c.byGUID(guid)
		if a == nil {
			gone = true // deleted meanwhile
			return
		}
		r.settings = wish.over(a.Settings) // as they are now: it may have been scaled while it was staged
		a.rollout = r
		a.stopped, a.crashed = false, false
		c.tell(Event{Kind: "app.rollout", App: a.Name, Text: "version " + short(staged.version)})
		c.reconcile(time.Now())
	})
	if gone {
		return fmt.Errorf("app %s: %w: it was deleted while it was staged", wish.Name, ErrNoApp)
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx) // the rollout goes on; only nobody waits for it
	}
}
