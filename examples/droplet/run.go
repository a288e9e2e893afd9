package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/messaging"
)

type runCmd struct {
	Droplet string `arg:"" name:"DROPLET" help:"File with the droplet."`

	Process string   `short:"t" help:"Process type to start." default:"web" placeholder:"TYPE"`
	Port    uint16   `short:"p" help:"Port at which the app is reached, and which it finds as PORT. Default: one that is free." placeholder:"PORT"`
	Env     []string `short:"e" help:"Sets a variable for the app, or with the name alone passes it on; may be repeated." sep:"none" placeholder:"NAME=VALUE"`
	Command string   `short:"c" help:"Start command, instead of that of the process type." placeholder:"COMMAND"`
	Runtime string   `help:"What runs the app of a droplet from before there were buildpacks: ruby18, node, java … Default: the first runtime of its framework." placeholder:"NAME"`

	HealthCheck string        `help:"How to find out that the app is up: ${enum}. auto waits for the port of the process type web, and for nothing else." enum:"auto,port,none" default:"auto"`
	Timeout     time.Duration `help:"How long it may take until the app is up." default:"1m"`
	Memory      megabytes     `short:"m" help:"Memory that the app may take, in MB or as 2G." default:"512M"`

	sandbox
}

// Validate refuses what would be told late.
func (c *runCmd) Validate() error {
	if c.Timeout < time.Second || c.Memory <= 0 {
		return errors.New("--timeout must be a second or more, --memory more than 0")
	}
	return nil
}

// Help is the end of run --help.
func (c *runCmd) Help() string {
	return "The output of the app goes to standard output and standard error. Ctrl-C ends the app, and a second one this program at once."
}

func (c *runCmd) Run(e *env) (err error) {
	e.lines = true
	variables, err := environment(c.Env)
	if err != nil {
		return err
	}
	if err := backends.Enter(e.ctx, c.Backend, anyContainers()); err != nil {
		return err
	}
	w, err := newWorkspace(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.remove()) }()
	e.screen.progress("reading the droplet")
	store, err := droplet.NewStore(w.path("droplets"), droplet.StoreOptions{Logger: e.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	info, digest, err := load(e.ctx, store, c.Droplet)
	if err != nil {
		return err
	}
	command, err := c.startCommand(info)
	if err != nil {
		return err
	}
	backend, err := w.open(e, c.Backend, process.PortRange{First: c.Port, Last: c.Port})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBackend(e, backend)) }()
	message, cfg, err := c.message(backend, digest, command, variables)
	if err != nil {
		return err
	}
	useRuntime(c.Runtime, info, &message, &cfg)
	follower, err := applog.NewFollower(applog.FollowerConfig{MaxBehind: 1 << 30, Logger: e.log}, &logScreen{env: e})
	if err != nil {
		return err
	}
	e.screen.progress("starting")
	return (&running{env: e, droplet: c.Droplet, url: c.wantsPort()}).run(message, cfg, instance.Parts{
		Backend: backend, Droplets: store, Logs: follower, Logger: e.log,
		Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: int64(c.Memory) << 20}),
	})
}

// load puts the droplet into the store and reads what it tells of itself: nil where it is of the old kind.
func load(ctx context.Context, store *droplet.Store, name string) (*droplet.StagingInfo, droplet.Digest, error) {
	file, err := openFile(name)
	if err != nil {
		return nil, droplet.Digest{}, err
	}
	defer file.Close()
	digest, ref, err := store.Put(ctx, file)
	if err != nil {
		return nil, digest, err
	}
	ref.Release() // nobody evicts it
	kept, err := ref.Open()
	if err != nil {
		return nil, digest, err
	}
	defer kept.Close()
	summary, err := droplet.Inspect(ctx, kept, droplet.Limits{})
	if err != nil {
		return nil, digest, refused(ctx, name, err)
	}
	return summary.Info, digest, nil
}

// startCommand finds the command of the process type; empty leaves it to a droplet of the old kind, which tells nothing of
// itself, or to what the droplet says.
func (c *runCmd) startCommand(info *droplet.StagingInfo) (string, error) {
	switch {
	case info == nil && (c.Command != "" || c.Process != "web"):
		return "", &codedError{
			code:   exitUsage,
			err:    fmt.Errorf("%s has no %s, so it has no process types, and starts with its own script", c.Droplet, droplet.InfoName),
			remedy: "leave out --process and --command",
		}
	case info == nil:
		return "", nil
	case info.Error != nil:
		return "", &codedError{code: exitDroplet, err: fmt.Errorf("%s: %w", c.Droplet, info.Error)}
	case c.Command != "":
		return c.Command, nil
	case info.EffectiveProcfile[c.Process] != "" && !(c.Process == "web" && info.StartCommand != ""):
		return info.EffectiveProcfile[c.Process], nil
	case c.Process == "web" && info.StartCommand != "":
		return info.StartCommand, nil
	}
	err := &codedError{code: exitUsage, err: fmt.Errorf("%s has no process type %q", c.Droplet, c.Process)}
	if known := slices.Sorted(maps.Keys(info.EffectiveProcfile)); len(known) > 0 {
		err.remedy = "it has " + strings.Join(known, ", ") + "; or give a start command with --command"
	} else {
		err.remedy = "it has none; give a start command with --command"
	}
	return "", err
}

// wantsPort tells whether the app is up when it listens.
func (c *runCmd) wantsPort() bool {
	return c.HealthCheck == "port" || c.HealthCheck == "auto" && c.Process == "web"
}

// message tells what a platform tells when it starts an instance.
func (c *runCmd) message(
	backend container.Backend, digest droplet.Digest, command string, variables []string,
) (messaging.StartMessage, instance.Config, error) {
	name, _, _ := strings.Cut(filepath.Base(c.Droplet), ".")
	if name == "" {
		name = "app"
	}
	m := messaging.StartMessage{
		Droplet: messaging.Text(name), Name: name, Version: digest.SHA1, CCPartition: "default", SHA1: digest.SHA1,
		Env: variables, Services: messaging.Services{}, StartCommand: command,
		Limits: messaging.Limits{Mem: int64(c.Memory)}, HealthCheckTimeout: messaging.Int(c.Timeout / time.Second),
	}
	if c.wantsPort() {
		m.URIs = []string{"localhost"} // an instance without routes is not asked whether it listens
	}
	for _, network := range public {
		m.EgressNetworkRules = append(m.EgressNetworkRules, messaging.EgressRule{Protocol: "all", Destination: network})
	}
	stack, rootfs, err := c.stack(backend)
	if stack != "" {
		m.Env = append([]string{"CF_STACK=" + stack}, m.Env...)
	}
	return m, instance.Config{StateFileTimeout: c.Timeout, RootFS: func(string) (string, error) { return rootfs, nil }}, err
}

// running is an instance and what is told of it.
type running struct {
	*env
	droplet string // as it was named
	url     bool   // tell where it is reached
}

func (r *running) run(message messaging.StartMessage, cfg instance.Config, parts instance.Parts) error {
	up := make(chan instance.Status, 1)
	parts.Observe = func(change instance.Change) {
		if change.Status.State == messaging.Running && change.From == messaging.Starting {
			up <- change.Status
		}
	}
	began := time.Now()
	app, err := instance.New(message, cfg, parts)
	if err != nil {
		return err
	}
	defer app.Release()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		app.Run(context.WithoutCancel(r.ctx))
	}()
	defer context.AfterFunc(r.ctx, app.Stop)()
	select {
	case status := <-up:
		r.screen.progress("")
		r.tellUp(status, time.Since(began))
		<-ended
	case <-ended:
	}
	return r.outcome(app.Status(), began)
}

func (r *running) tellUp(s instance.Status, after time.Duration) {
	event := runEvent{Event: "up", Seconds: seconds(after)}
	if r.url {
		event.URL = "http://" + net.JoinHostPort(s.Container.HostIP, strconv.Itoa(int(s.HostPort))) + "/"
	}
	if r.json {
		r.tell(event)
		return
	}
	r.screen.heading("%s", strings.TrimSpace("The app is up after "+took(after)+"  "+event.URL))
}

// outcome tells how the app ended.
func (r *running) outcome(s instance.Status, began time.Time) error {
	if r.json {
		event := runEvent{Event: "ended", Seconds: seconds(time.Since(began)), Description: s.ExitDescription}
		if s.ExitStatus >= 0 {
			event.Status = &s.ExitStatus
		}
		r.tell(event)
	}
	switch {
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case s.ExitStatus == 0:
		return nil
	case s.ExitStatus > 0 && s.ExitDescription == container.EventOutOfMemory:
		return &codedError{code: s.ExitStatus, err: &appError{s.ExitStatus, s.ExitDescription}, remedy: "to give it more: --memory"}
	case s.ExitStatus > 0:
		return &appError{s.ExitStatus, s.ExitDescription}
	}
	err := notStarted(s)
	if err.code == exitDroplet {
		err.err = fmt.Errorf("%s: %w", r.droplet, err.err)
	}
	return err
}

// notStarted tells why the app did not come up.
func notStarted(s instance.Status) *codedError {
	err := &codedError{code: exitNotStarted, err: errors.New(s.ExitDescription)}
	var member *droplet.MemberError
	var runtime *instance.RuntimeError
	switch {
	case errors.Is(s.StartError, droplet.ErrDamaged):
		err.code, err.err = exitDroplet, droplet.ErrDamaged
	case errors.As(s.StartError, &member):
		err.code, err.err = exitDroplet, member
	case s.ExitDescription == instance.Unhealthy:
		err.remedy = "it must listen at $PORT, on all addresses; to give it more time: --timeout; not to wait for it: --health-check none"
	case errors.As(s.StartError, &runtime):
		withoutRuntime(err, runtime)
	case errors.Is(s.StartError, container.ErrNoPort):
		err.err, err.remedy = s.StartError, "to take another port: --port; without it, one that is free is taken"
	case s.StartError != nil:
		err.err = s.StartError
	}
	return err
}

// runEvent is what --json writes, one on each line.
type runEvent struct {
	Event       string  `json:"event"`                 // "up", "log", "ended"
	URL         string  `json:"url,omitempty"`         // up: where it is reached
	Seconds     float64 `json:"seconds,omitempty"`     // up, ended: since the start
	Stream      string  `json:"stream,omitempty"`      // log: "stdout" or "stderr"
	Text        *string `json:"text,omitempty"`        // log: the line without its end
	Status      *int    `json:"exit_status,omitempty"` // ended: of the app, if it ended by itself
	Description string  `json:"description,omitempty"` // ended: why
}
