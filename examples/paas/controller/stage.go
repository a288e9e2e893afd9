package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/framework"
)

// Staging takes at least this much, as the Cloud Controller reckons.
const (
	minStagingMemoryMB = 1024
	minStagingDiskMB   = 2048
)

// A StagingFailure is what a stager says of an app that could not be staged.
type StagingFailure struct {
	Type    string // NoAppDetectedError and the like, empty when the stager names none
	Message string

	refused bool // for want of room, before anything was done
}

func (f *StagingFailure) Error() string {
	if f.Type == "" {
		return "staging failed: " + f.Message
	}
	return fmt.Sprintf("staging failed: %s (%s)", f.Message, f.Type)
}

// A StagingError says why there is no new version of an app.
type StagingError struct{ Err error }

func (e *StagingError) Error() string { return e.Err.Error() }
func (e *StagingError) Unwrap() error { return e.Err }

// stage has the package of an app staged and returns the new release. It tells where the log can be read as soon as
// the stager does.
func (c *Controller) stage(ctx context.Context, a Settings, guid string) (release, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.StagingTimeout,
		fmt.Errorf("no result from the stager within %s", c.cfg.StagingTimeout))
	defer cancel()
	memory, disk := max(a.MemoryMB, minStagingMemoryMB), max(a.DiskMB, minStagingDiskMB)
	for begun := time.Now(); ; {
		stager, err := c.awaitStager(ctx, a.Name, memory, disk)
		if err != nil {
			return release{}, err
		}
		staged, err := c.stageOn(ctx, stager, a, guid)
		var failure *StagingFailure
		if !errors.As(err, &failure) || !failure.refused || time.Since(begun) > offerLifetime {
			return staged, err
		}
		c.locked(func() { delete(c.stagers, stager) }) // until it has said what it really has
	}
}

// stageOn is one attempt, with one stager.
func (c *Controller) stageOn(ctx context.Context, stager string, a Settings, guid string) (release, error) {
	c.locked(func() { c.stagings++ })
	defer c.locked(func() { c.stagings-- })
	stop := messaging.StagingStopMessage{AppID: messaging.Text(guid)}
	if err := messaging.StagingStop.Publish(c.conn, stop); err != nil {
		return release{}, err
	}
	request := c.stagingRequest(a, guid)
	c.tell(Event{Kind: "staging.started", App: a.Name, DEA: stager})
	answers := 0
	for answer, err := range messaging.StagingStart(stager).AskAll(ctx, c.conn, request) {
		if err != nil {
			return release{}, err
		}
		if answer.Error != "" {
			failure := &StagingFailure{Message: answer.Error}
			failure.refused = answers == 0 && strings.HasPrefix(answer.Error, "Not enough ") // the words of dea_ng
			if answer.ErrorInfo != nil {
				failure.Type, failure.Message = answer.ErrorInfo.Type, answer.ErrorInfo.Message
			}
			return release{}, failure
		}
		if answers++; answers == 1 {
			c.tell(Event{Kind: "staging.log", App: a.Name, Text: answer.StreamingLogURL})
			continue
		}
		r := release{
			version: newGUID(), sha1: answer.DropletSHA1, buildpack: answer.DetectedBuildpack, command: answer.DetectedStartCommand,
		}
		c.tell(Event{Kind: "staging.finished", App: a.Name, Text: strings.TrimSpace(r.buildpack + " " + short(r.sha1))})
		return r, nil
	}
	if err := context.Cause(ctx); err != nil {
		// Nobody waits for the result any more.
		return release{}, errors.Join(err, messaging.StagingStop.Publish(c.conn, stop))
	}
	return release{}, errors.New("the stager is gone: nobody listens to its subject any more")
}

// shortage is how long stagers without room are asked again when nothing that we know of will give them more.
const shortage = 2 * time.Second

// awaitStager waits for a stager with room: a little, because one that just started has not advertised yet, or as long as ctx
// lasts while others of our apps are being staged.
func (c *Controller) awaitStager(ctx context.Context, app string, memory, disk int64) (string, error) {
	begun, idle, told := time.Now(), time.Now(), false
	for {
		var id string
		var ok, none, busy bool
		var most int64
		c.locked(func() {
			id, ok = c.stagers.stager(memory, disk, c.cfg.Stack, time.Now())
			none, busy, most = len(c.stagers) == 0, c.stagings > 0, c.stagers.mostMemory()
		})
		missing := fmt.Sprintf("no stager offers %d MB of memory and %d MB of disk", memory, disk)
		switch {
		case ok:
			return id, nil
		case none && time.Since(begun) > offerLifetime:
			return "", errors.New("no stager is there")
		case busy:
			idle = time.Now()
			if !told {
				told = true
				c.tell(Event{Kind: "staging.waiting", App: app, Text: missing + " now; others are being staged"})
			}
		case !none && time.Since(idle) > shortage:
			return "", fmt.Errorf("%s; the most is %d MB of memory", missing, most)
		}
		// What is remembered of the stagers may be older than the end of their last task.
		if err := messaging.StagingLocate.Publish(c.conn, messaging.Signal{}); err != nil {
			return "", err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func (c *Controller) stagingRequest(a Settings, guid string) messaging.StagingRequest {
	m := messaging.StagingRequest{
		AppID: messaging.Text(guid), TaskID: messaging.Text(newGUID()), Stack: c.cfg.Stack,
		DownloadURI: c.blobs.PackageURL(guid), UploadURI: c.blobs.DropletUploadURL(guid),
		BuildpackCacheDownloadURI: c.blobs.CacheURL(guid), BuildpackCacheUploadURI: c.blobs.CacheUploadURL(guid),
		Properties: messaging.StagingProperties{
			Services: messaging.Services{}, Environment: append([]string{}, a.Env...), Meta: messaging.StagingMeta{Command: a.Command},
		},
		MemoryLimit: messaging.Int(a.MemoryMB), DiskLimit: messaging.Int(a.DiskMB), EgressNetworkRules: publicNetworks(),
	}
	a.describe(&m.Properties)
	keys := c.cfg.Buildpacks
	switch {
	case a.Framework != "" && a.Framework != framework.BuildpackName:
		keys = nil
	case strings.Contains(a.Buildpack, "://"):
		m.Properties.Buildpack, m.Properties.BuildpackGitURL = a.Buildpack, a.Buildpack
		keys = nil
	case a.Buildpack != "":
		m.Properties.BuildpackKey = a.Buildpack
		keys = []string{a.Buildpack}
	}
	for _, key := range keys {
		m.AdminBuildpacks = append(m.AdminBuildpacks, messaging.AdminBuildpack{Key: key, URL: c.blobs.BuildpackURL(key)})
	}
	return m
}

func (s Settings) limits() messaging.Limits {
	return messaging.Limits{Mem: s.MemoryMB, Disk: s.DiskMB, FDs: 16384}
}

func short(digest string) string { return digest[:min(len(digest), 12)] }
