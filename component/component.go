package component

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/internal/httpserve"
)

// A Component shows a process to others. Its methods may be called from any goroutine.
type Component struct {
	cfg     Config
	log     *slog.Logger
	start   time.Time
	cpu     time.Duration // that the process had used at start
	port    atomic.Uint32
	handler http.Handler
}

// New checks the configuration and builds a Component. It starts nothing; uptime counts from here.
func New(cfg Config) (*Component, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("component: %w", err)
	}
	c := &Component{cfg: cfg, log: cfg.Logger.With("component", cfg.UUID), start: time.Now(), cpu: cpuTime()}
	c.port.Store(uint32(cfg.Port))
	c.handler = c.routes()
	return c, nil
}

// UUID of the component, as configured or drawn.
func (c *Component) UUID() string { return c.cfg.UUID }

// Handler is the endpoint by itself, authentication included. Where Run is not used, the record names Host and Port as
// they are configured.
func (c *Component) Handler() http.Handler { return c.handler }

// Run opens the endpoint and does what Serve does.
func (c *Component) Run(ctx context.Context) error {
	address := net.JoinHostPort(c.cfg.Host, strconv.Itoa(int(c.cfg.Port)))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("component: open the status endpoint: %w", err)
	}
	return c.Serve(ctx, l)
}

// Serve serves the endpoint on l, announces the component with the port of l, and answers for it until ctx ends. Then it
// closes l, lets requests end within five seconds, and returns nil when nothing of it is left. Call it once.
func (c *Component) Serve(ctx context.Context, l net.Listener) error {
	if address, ok := l.Addr().(*net.TCPAddr); ok {
		c.port.Store(uint32(address.Port))
	}
	c.log.Info("component.started", "type", c.cfg.Type, "host", c.host())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return httpserve.Run(ctx, httpserve.New(c.handler, c.log), l) })
	if c.cfg.Conn != nil {
		group.Go(func() error { return c.announce(ctx) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("component: %w", err)
	}
	return nil
}

// host is where the endpoint is, as "ip:port".
func (c *Component) host() string {
	return net.JoinHostPort(c.cfg.Host, strconv.Itoa(int(c.port.Load())))
}
