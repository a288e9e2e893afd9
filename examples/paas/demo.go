package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deakit/deakit/examples/internal/hostproc"
	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/messaging"
)

// demo takes one app through its whole life on a platform of its own.
type demo struct {
	cmd    *demoCmd
	screen *screen
	client *client.Client
	name   string
	url    string
	steps  []timing
}

type timing struct {
	name string
	took time.Duration
}

// A stepError says which step of the demo failed.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return fmt.Sprintf("step %q failed: %v", e.step, e.err) }
func (e *stepError) Unwrap() error { return e.err }

// step runs one part of the demo and takes its time.
func (d *demo) step(ctx context.Context, name string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d.cmd.StepTimeout, fmt.Errorf("not done after %s", d.cmd.StepTimeout))
	defer cancel()
	d.screen.heading(name)
	begun := time.Now()
	if err := do(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return &stepError{name, err}
	}
	d.steps = append(d.steps, timing{name, time.Since(begun)})
	return nil
}

func (d *demo) push(ctx context.Context) error {
	source, err := packSource(ctx, d.cmd.App)
	if err != nil {
		return err
	}
	defer source.Close()
	settings := controller.Settings{Name: d.name, Instances: 2, MemoryMB: int64(d.cmd.Memory)}
	if err := pushAndShow(ctx, d.client, d.screen, settings, source); err != nil {
		return err
	}
	app, err := d.client.App(ctx, d.name)
	if err != nil {
		return err
	}
	d.url = "http://" + app.Routes[0]
	deas := map[string]bool{}
	for _, i := range app.Instances {
		deas[i.DEA] = true
		d.screen.line("instance %d runs on DEA %s", i.Index, short(i.DEA))
	}
	if len(app.Instances) != 2 || len(deas) != 2 {
		return fmt.Errorf("%d instances on %d DEAs instead of 2 on 2", len(app.Instances), len(deas))
	}
	return nil
}

func (d *demo) fetch(ctx context.Context) error {
	page, err := d.client.FetchText(ctx, d.url+"/")
	if err != nil {
		return err
	}
	d.screen.line("GET %s/ by the router at %s", d.url, d.client.Info().Router)
	d.screen.quote(page)
	return nil
}

func (d *demo) stats(ctx context.Context) error {
	app, err := d.client.App(ctx, d.name)
	if err != nil {
		return err
	}
	showInstances(d.screen, app)
	for _, i := range app.Instances {
		if i.Stats == nil {
			return fmt.Errorf("instance %d has no figures", i.Index)
		}
	}
	return nil
}

func (d *demo) list(ctx context.Context) error {
	url, err := d.client.FileURL(ctx, d.name, 0, "/")
	if err != nil {
		return err
	}
	d.screen.line("GET %s", shortURL(url))
	listing, err := d.client.FetchText(ctx, url)
	if err != nil {
		return err
	}
	d.screen.quote(listing)
	if !strings.Contains(listing, "app/") || !strings.Contains(listing, "staging_info.yml") {
		return errors.New("the listing does not show a droplet")
	}
	return nil
}

// tail follows the log of an instance and sees a line that comes while it does.
func (d *demo) tail(ctx context.Context) error {
	url, err := d.client.FileURL(ctx, d.name, 0, "/logs/stdout.log")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	response, err := d.client.Fetch(ctx, url+"&tail&tail_offset=0")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("tail: status %s", response.Status)
	}
	// Some apps write to their log only when they are asked for something; ask both instances.
	for range 4 {
		if _, err := d.client.FetchText(ctx, d.url+"/"); err != nil {
			return err
		}
	}
	reader := bufio.NewReader(response.Body)
	line, err := reader.ReadString('\n')
	if err != nil {
		return fmt.Errorf("tail ended after %q: %w", line, err)
	}
	d.screen.line("tail of %s", shortURL(url))
	d.screen.quote(line)
	return nil
}

// kill ends the process of an instance as a fault would, and waits for its replacement.
func (d *demo) kill(ctx context.Context) error {
	victim, err := d.instance(ctx, 0)
	if err != nil {
		return err
	}
	url, err := d.client.FileURL(ctx, d.name, 0, "/run.pid")
	if err != nil {
		return err
	}
	text, err := d.client.FetchText(ctx, url)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("run.pid holds %q", text)
	}
	process, err := hostproc.Find(pid, victim.Instance) // run.pid is what the container calls it
	if err != nil {
		return err
	}
	defer process.Release()
	events, stop := d.follow(ctx)
	defer stop()
	d.screen.line("kill -9 %d, the process of instance 0", process.Pid)
	if err := process.Kill(); err != nil {
		return err
	}
	if err := d.await(ctx, events, "instance.crashed"); err != nil {
		return err
	}
	for {
		now, err := d.instance(ctx, 0)
		if err == nil && now.Instance != victim.Instance && now.State == messaging.Running {
			d.screen.line("instance 0 is %s now, it was %s", short(now.Instance), short(victim.Instance))
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// instance finds the running instance of an index.
func (d *demo) instance(ctx context.Context, index int) (messaging.FoundInstance, error) {
	app, err := d.client.App(ctx, d.name)
	if err != nil {
		return messaging.FoundInstance{}, err
	}
	for _, i := range app.Instances {
		if i.Index == index && i.State == messaging.Running {
			return i, nil
		}
	}
	return messaging.FoundInstance{}, fmt.Errorf("instance %d does not run", index)
}

// evacuate empties a DEA while requests come in, and counts those that fail.
func (d *demo) evacuate(ctx context.Context) error {
	app, err := d.client.App(ctx, d.name)
	if err != nil {
		return err
	}
	if len(app.Instances) == 0 {
		return errors.New("no instance runs")
	}
	leaves := app.Instances[len(app.Instances)-1].DEA // one that has something to lose
	load := d.startLoad(ctx)
	defer load.stop()
	events, stop := d.follow(ctx)
	defer stop()
	if _, err := d.client.Evacuate(ctx, leaves, false); err != nil {
		return err
	}
	if err := d.await(ctx, events, "dea.left"); err != nil {
		return err
	}
	requests, failed := load.stop()
	d.screen.line("%d requests meanwhile, %d failed", requests, len(failed))
	for _, err := range failed[:min(len(failed), 3)] {
		d.screen.line("  %v", err)
	}
	app, err = d.client.App(ctx, d.name)
	if err != nil {
		return err
	}
	showInstances(d.screen, app)
	switch {
	case len(failed) > 0:
		return errors.New("the evacuation was noticed")
	case requests == 0:
		return errors.New("no request was made")
	case app.Running != 2:
		return fmt.Errorf("%d instances run after the evacuation instead of 2", app.Running)
	}
	return nil
}

// load asks an app without pause until it is stopped.
type load struct {
	cancel   context.CancelFunc
	workers  sync.WaitGroup
	requests atomic.Int64
	mu       sync.Mutex
	failed   []error
}

func (d *demo) startLoad(ctx context.Context) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel}
	for range 4 {
		l.workers.Go(func() {
			for ctx.Err() == nil {
				_, err := d.client.FetchText(context.WithoutCancel(ctx), d.url+"/")
				l.requests.Add(1)
				if err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

func (l *load) stop() (requests int64, failed []error) {
	l.cancel()
	l.workers.Wait()
	return l.requests.Load(), l.failed
}

// follow streams events from now on.
func (d *demo) follow(ctx context.Context) (<-chan controller.Event, func()) {
	ctx, cancel := context.WithCancel(ctx)
	events, done := make(chan controller.Event, 100), make(chan struct{})
	var last int64
	for e, err := range d.client.Events(ctx, 0, false) {
		if err == nil {
			last = e.Seq
		}
	}
	go func() {
		defer close(done)
		defer close(events)
		for e, err := range d.client.Events(ctx, last, true) {
			if err != nil {
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, func() { cancel(); <-done }
}

// await shows events until one of a kind has come.
func (d *demo) await(ctx context.Context, events <-chan controller.Event, kind string) error {
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return fmt.Errorf("the events ended before %s", kind)
			}
			showEvent(d.screen, e)
			if e.Kind == kind {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("no event %s: %w", kind, ctx.Err())
		}
	}
}

func (d *demo) summary(total time.Duration) {
	d.screen.heading("Summary")
	for _, s := range d.steps {
		d.screen.line("%-52s %8s", s.name, s.took.Round(time.Millisecond))
	}
	d.screen.line("%-52s %8s", "in all", total.Round(time.Millisecond))
}
