package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/examples/internal/standin"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/framework"
)

// A servedDroplet is a droplet file, and what a start message tells of it.
type servedDroplet struct {
	*os.File
	digest  droplet.Digest
	runtime string // that its framework wants by default; empty where it wants none, or nobody knows
}

// openDroplet looks into a droplet file. The caller closes it.
func openDroplet(ctx context.Context, name string) (_ *servedDroplet, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("droplet: %w; examples/request-stager and examples/droplet make one", err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	d := &servedDroplet{File: file}
	if d.digest, err = droplet.Hash(file); err != nil {
		return nil, fmt.Errorf("droplet %s: %w", name, err)
	}
	summary, err := droplet.Inspect(ctx, io.NewSectionReader(file, 0, d.digest.Size), droplet.Limits{})
	if err != nil {
		return nil, fmt.Errorf("droplet %s: %w", name, err)
	}
	if summary.Info != nil {
		d.runtime = framework.DefaultRuntime(summary.Info.DetectedBuildpack) // buildpacks, which bring theirs, have none
	}
	return d, nil
}

// The path of the droplet, as Cloud Controllers have it.
const staged, download = "staged_droplets", "download"

// handler serves the droplet.
func (d *servedDroplet) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+staged+"/{name}/"+download, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(d.File, 0, d.digest.Size))
	})
	return mux
}

// message is the start message for the first instance of an app whose version is a new one.
func (c *cli) message(d *servedDroplet, server *standin.Server) messaging.StartMessage {
	uris := c.URIs
	if uris == nil {
		uris = []string{c.Name + ".localhost"}
	}
	m := messaging.StartMessage{
		Droplet: messaging.Text(c.Name), Name: c.Name, Version: rand.Text(), URIs: uris, CCPartition: "default",
		Limits: c.limits(), SHA1: d.digest.SHA1, ExecutableURI: server.URI(staged, c.Name, download),
		Env: append([]string{}, c.Env...), Services: messaging.Services{}, Stack: c.Stack,
	}
	runtime := c.Runtime
	if runtime == "" {
		runtime = d.runtime
	}
	if runtime != "" {
		m.RuntimeInfo, _ = json.Marshal(map[string]string{"name": runtime}) // texts are always JSON
		m.Runtime, _ = json.Marshal(runtime)
	}
	return m
}

func (c *cli) limits() messaging.Limits {
	return messaging.Limits{Mem: c.Memory, Disk: c.Disk, FDs: c.FDs}
}
