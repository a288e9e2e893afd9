package garden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// A box is a container of the server.
type box struct {
	b      *Backend
	handle string

	// gate is held for reading while something is done that a stopped container refuses, and for writing while it becomes
	// a stopped one: the server need not keep that apart.
	gate sync.RWMutex

	mu     sync.Mutex
	procs  map[uint32]*process
	lastID uint32 // 0 is not known yet
}

func (b *Backend) newBox(handle string) *box {
	return &box{b: b, handle: handle, procs: map[uint32]*process{}}
}

// Handle is the name of the container.
func (c *box) Handle() string { return c.handle }

func (c *box) route(parts ...string) string {
	return path(append([]string{"containers", c.handle}, parts...)...)
}

// fail says which operation failed.
func (c *box) fail(what string, err error) error {
	return fmt.Errorf("%s container %s: %w", what, c.handle, err)
}

func (c *box) setProperty(ctx context.Context, name, value string) error {
	body := struct {
		Value string `json:"value"`
	}{value}
	return c.b.client.quick(ctx, "PUT", c.route("properties", name), body, nil)
}

// findRoot finds out by which name processes know the root of the container, where it has none of its own.
func (c *box) findRoot(ctx context.Context) error {
	if c.b.caps.RootFS {
		return nil
	}
	var home bytes.Buffer
	// Not numbered: it is none of the caller's processes.
	spec := &processSpec{Path: "/bin/sh", Args: []string{"-c", `printf %s "$HOME"`}, User: container.AppUser}
	p, err := c.launch(ctx, spec, container.IO{Stdout: &home})
	if err != nil {
		return err
	}
	status, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	root, ok := strings.CutSuffix(home.String(), container.AppHome)
	if !ok || status != 0 {
		return fmt.Errorf("the home directory of %s is %q, not %s", container.AppUser, home.String(), container.AppHome)
	}
	return c.setProperty(ctx, rootProperty, root)
}

// Info describes the container.
func (c *box) Info(ctx context.Context) (container.Info, error) {
	r, err := c.b.info(ctx, c.handle)
	if err != nil {
		return container.Info{}, c.fail("info of", err)
	}
	info := container.Info{
		State: container.StateActive, HostIP: c.b.opts.HostIP, ContainerIP: r.ContainerIP, Path: r.ContainerPath,
		Root: r.Properties[rootProperty], Properties: map[string]string{},
	}
	if stopped(r) {
		info.State = container.StateStopped
	}
	for _, event := range r.Events {
		if strings.EqualFold(event, container.EventOutOfMemory) { // Guardian begins with a capital
			event = container.EventOutOfMemory
		}
		info.Events = append(info.Events, event)
	}
	for _, ip := range []string{r.ExternalIP, r.HostIP} {
		if info.HostIP == "" {
			info.HostIP = ip
		}
	}
	if root := r.ContainerPath + "/rootfs"; r.ContainerPath != "" {
		if _, err := os.Lstat(root + container.AppHome); err == nil {
			info.HostRoot = root
		}
	}
	for _, m := range r.MappedPorts {
		info.Ports = append(info.Ports, container.PortMapping{HostPort: uint16(m.HostPort), ContainerPort: uint16(m.ContainerPort)})
	}
	for _, text := range r.ProcessIDs {
		if id, err := strconv.ParseUint(text, 10, 32); err == nil {
			info.Processes = append(info.Processes, uint32(id))
		}
	}
	slices.Sort(info.Processes)
	for name, value := range r.Properties {
		if !strings.HasPrefix(name, PropertyPrefix) {
			info.Properties[name] = value
		}
	}
	if info.Limits, err = rememberedLimits(r); err != nil {
		return container.Info{}, c.fail("info of", err)
	}
	return info, nil
}

func rememberedLimits(r containerInfo) (l container.Limits, err error) {
	if text, ok := r.Properties[limitsProperty]; ok {
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return l, fmt.Errorf("property %s: %w", limitsProperty, err)
		}
	}
	return l, nil
}

func stopped(r containerInfo) bool {
	return r.State == string(container.StateStopped) || r.Properties[stoppedProperty] == "true"
}

// active fails when the container is stopped or gone.
func (c *box) active(ctx context.Context) error {
	r, err := c.b.info(ctx, c.handle)
	if err == nil && stopped(r) {
		err = container.ErrStopped
	}
	return err
}

// whileActive calls f unless the container is stopped, and keeps it from being stopped meanwhile.
func (c *box) whileActive(ctx context.Context, f func() error) error {
	c.gate.RLock()
	defer c.gate.RUnlock()
	if err := c.active(ctx); err != nil {
		return err
	}
	return f()
}

// SetLimits checks limits. Those of a container cannot be changed: others than it has are container.ErrUnsupported.
func (c *box) SetLimits(ctx context.Context, limits container.Limits) error {
	r, err := c.b.info(ctx, c.handle)
	if err == nil {
		err = containerkit.CheckLimits(limits)
	}
	var now container.Limits
	if err == nil {
		now, err = rememberedLimits(r)
	}
	if err == nil && !reflect.DeepEqual(now, limits) {
		err = fmt.Errorf("Garden sets limits when a container is made, and never again: %w", container.ErrUnsupported)
	}
	if err != nil {
		return c.fail("limit", err)
	}
	return nil
}

// Usage measures the container.
func (c *box) Usage(ctx context.Context) (container.Usage, error) {
	var m metrics
	if err := c.b.client.quick(ctx, "GET", c.route("metrics"), nil, &m); err != nil {
		return container.Usage{}, c.fail("measure", err)
	}
	return container.Usage{
		MemoryBytes: int64(m.MemoryStat.TotalUsageTowardLimit),
		DiskBytes:   int64(m.DiskStat.ExclusiveBytesUsed),
		CPUTime:     time.Duration(m.CPUStat.Usage),
		Processes:   int(m.PidStat.Current),
		At:          time.Now(),
	}, nil
}

// StreamIn unpacks a tar stream in the container.
func (c *box) StreamIn(ctx context.Context, dir, user string, tar io.Reader) error {
	query := url.Values{"user": {userOr(user)}, "destination": {dir}}
	err := c.active(ctx)
	if err == nil {
		var response *http.Response
		if response, err = c.b.client.open(ctx, "PUT", c.route("files"), query, io.NopCloser(tar)); err == nil {
			err = response.Body.Close()
		}
	}
	if err != nil {
		return c.fail(fmt.Sprintf("stream into %q of", dir), err)
	}
	return nil
}

func userOr(user string) string {
	if user == "" {
		return container.AppUser
	}
	return user
}

// StreamOut returns a tar stream.
func (c *box) StreamOut(ctx context.Context, p string) (io.ReadCloser, error) {
	query := url.Values{"user": {"root"}, "source": {p}}
	response, err := c.b.client.open(ctx, "GET", c.route("files"), query, nil)
	if err != nil {
		return nil, c.fail(fmt.Sprintf("stream out %q of", p), err)
	}
	return &tarStream{body: response.Body}, nil
}

// Stop ends all processes. The request goes on when ctx ends.
func (c *box) Stop(ctx context.Context, kill bool) error {
	if err := ctx.Err(); err != nil {
		return c.fail("stop", err)
	}
	answer := make(chan error, 1)
	err := c.b.fleet.Go(func() { answer <- c.stop(kill) })
	if err == nil {
		select {
		case err = <-answer:
		case <-ctx.Done():
			err = fmt.Errorf("its processes are still being ended: %w", ctx.Err())
		}
	}
	if err != nil {
		return c.fail("stop", err)
	}
	return nil
}

func (c *box) stop(kill bool) error {
	c.gate.Lock()
	err := c.setProperty(c.b.ctx, stoppedProperty, "true")
	c.gate.Unlock()
	if err != nil {
		return err
	}
	body := struct {
		Kill bool `json:"kill"`
	}{kill}
	return c.b.client.do(c.b.ctx, "PUT", c.route("stop"), body, nil)
}

// Destroy removes the container. When ctx ends first, the work goes on in the background.
func (c *box) Destroy(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return c.fail("destroy", err)
	}
	answer := make(chan error, 1)
	err := c.b.fleet.Go(func() { answer <- c.b.client.do(c.b.ctx, "DELETE", c.route(), nil, nil) })
	if err == nil {
		select {
		case err = <-answer:
		case <-ctx.Done():
			err = fmt.Errorf("it is still being removed: %w", ctx.Err())
		}
	}
	if err == nil || errors.Is(err, container.ErrNotFound) {
		c.b.fleet.Forget(c.handle, c)
	}
	if err != nil {
		return c.fail("destroy", err)
	}
	return nil
}
