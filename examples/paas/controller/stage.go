package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/deakit/deakit/messaging"
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
}

func (f *StagingFailure) Error() string {
	if f.Type == "" {
		return "staging failed: " + f.Message
	}
	return fmt.Sprintf("staging failed: %s (%s)", f.Message, f.Type)
}

// stage has the package of an app staged and returns the new release. It tells where the log can be read as soon as
// the stager does.
func (c *Controller) stage(ctx context.Context, a Settings, guid string) (release, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.StagingTimeout,
		fmt.Errorf("no result from the stager within %s", c.cfg.StagingTimeout))
	defer cancel()
	memory, disk := max(a.MemoryMB, minStagingMemoryMB), max(a.DiskMB, minStagingDiskMB)
	stager, err := c.awaitStager(ctx, memory, disk)
	if err != nil {
		return release{}, err
	}
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

// awaitStager waits a little for a stager with room: one that just started has not advertised yet.
func (c *Controller) awaitStager(ctx context.Context, memory, disk int64) (string, error) {
	deadline := time.Now().Add(offerLifetime)
	for {
		var id string
		var ok bool
		c.locked(func() { id, ok = c.stagers.stager(memory, disk, c.cfg.Stack, time.Now()) })
		if ok {
			return id, nil
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("no stager offers %d MB of memory and %d MB of disk", memory, disk)
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
		MemoryLimit: messaging.Int(a.MemoryMB), DiskLimit: messaging.Int(a.DiskMB),
	}
	keys := c.cfg.Buildpacks
	switch {
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
