package router

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// Config of a Router. The zero Config listens on a free port of the loopback interface: set Listener or Addr.
type Config struct {
	// Listener takes the requests; Run closes it. When nil, Run listens on Addr, default "127.0.0.1:0".
	Listener net.Listener
	Addr     string

	// ID names the router in router.start; default 32 random hex digits. Hosts are its addresses; default that of the
	// listener.
	ID    string
	Hosts []string

	// RegisterInterval is how often those who have routes are asked to renew them. Default 20 s; whole seconds.
	RegisterInterval time.Duration
	// PruneThreshold is after how long a route that was not renewed is dropped. Default 120 s. Nothing is dropped
	// while there is no link to NATS, or sooner than PruneThreshold after it came back.
	PruneThreshold time.Duration

	// DialTimeout bounds one attempt to reach an endpoint. Default 5 s.
	DialTimeout time.Duration
	// ResponseTimeout bounds the wait for the header of an answer. Default 900 s.
	ResponseTimeout time.Duration
	// SetAside is how long an endpoint that could not be reached is avoided while there are others. Default 5 s.
	SetAside time.Duration
	// Attempts is the greatest number of endpoints tried for one request. Default 3.
	Attempts int

	// HeaderTimeout bounds the reading of a request's header. Default 10 s.
	HeaderTimeout time.Duration
	// IdleTimeout is after how long an unused connection is closed, on both sides. Default 90 s.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds the header of a request. Default 64 KiB.
	MaxHeaderBytes int
	// DrainTimeout is how long requests that are in flight may go on when Run ends. Default 30 s. Upgraded
	// connections are cut at the end of it or when all else is done.
	DrainTimeout time.Duration

	// TrustForwarded keeps the X-Forwarded-For and X-Forwarded-Proto that come with a request: set it when only a
	// proxy that can be trusted reaches the router. Otherwise what clients say of themselves is dropped.
	TrustForwarded bool
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.RegisterInterval, 20 * time.Second},
		{&c.PruneThreshold, 120 * time.Second},
		{&c.DialTimeout, 5 * time.Second},
		{&c.ResponseTimeout, 900 * time.Second},
		{&c.SetAside, 5 * time.Second},
		{&c.HeaderTimeout, 10 * time.Second},
		{&c.IdleTimeout, 90 * time.Second},
		{&c.DrainTimeout, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Attempts <= 0 {
		c.Attempts = 3
	}
	if c.MaxHeaderBytes <= 0 {
		c.MaxHeaderBytes = 64 << 10
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.ID == "" {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails
		c.ID = hex.EncodeToString(id[:])
	}
	return c
}

// A Router passes HTTP requests to the endpoints that register for their host.
type Router struct {
	cfg   Config
	conn  *nats.Conn
	log   *slog.Logger
	table *table
	proxy *httputil.ReverseProxy
	base  *http.Transport

	mu      sync.Mutex
	closed  bool
	serving sync.WaitGroup // handlers, those of upgraded connections included
}

// New returns a Router that hears of routes through conn, which stays the caller's. A nil logger discards.
func New(cfg Config, conn *nats.Conn, log *slog.Logger) *Router {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.withDefaults()
	r := &Router{
		cfg:   cfg,
		conn:  conn,
		log:   log,
		table: &table{threshold: cfg.PruneThreshold, setAside: cfg.SetAside, hosts: map[string]*pool{}},
	}
	r.base, r.proxy = r.newProxy()
	return r
}

// Run routes until ctx ends; then it takes no more requests, lets those in flight end, and returns nil. It returns an
// error when it cannot listen or subscribe. It can be called once.
func (r *Router) Run(ctx context.Context) error {
	listener := r.cfg.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", r.cfg.Addr); err != nil {
			return fmt.Errorf("router: %w", err)
		}
	}
	defer listener.Close()

	inbox := messaging.NewInbox(r.conn, r.log)
	defer inbox.Close()
	hello := r.hello(listener)
	if err := r.subscribe(inbox, hello); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	connected := r.conn.StatusChanged(nats.CONNECTED)
	defer r.conn.RemoveStatusListener(connected)

	// Requests end when they are done or cut, not when ctx ends.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	server := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: r.cfg.HeaderTimeout,
		IdleTimeout:       r.cfg.IdleTimeout,
		MaxHeaderBytes:    r.cfg.MaxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	r.log.Info("router.started", "address", listener.Addr().String())

	err := r.listen(ctx, inbox, connected, hello, served)
	r.drain(server, cut)
	if err != nil {
		return fmt.Errorf("router: %w", err)
	}
	<-served
	return nil
}

func (r *Router) hello(listener net.Listener) messaging.RouterHello {
	hosts := r.cfg.Hosts
	if hosts == nil {
		hosts = []string{}
		if host, _, err := net.SplitHostPort(listener.Addr().String()); err == nil {
			hosts = append(hosts, host)
		}
	}
	return messaging.RouterHello{
		ID:                      r.cfg.ID,
		Hosts:                   hosts,
		MinimumRegisterInterval: messaging.Int(max(1, r.cfg.RegisterInterval/time.Second)),
		PruneThreshold:          messaging.Int(max(1, r.cfg.PruneThreshold/time.Second)),
	}
}

func (r *Router) subscribe(inbox *messaging.Inbox, hello messaging.RouterHello) error {
	return errors.Join(
		messaging.Handle(inbox, messaging.RouterRegister, func(_ context.Context, route messaging.Route) {
			if refused := r.table.register(route, time.Now()); len(refused) > 0 {
				r.log.Warn("router.register.refused", "names", refused, "app", route.App)
			}
		}),
		messaging.Handle(inbox, messaging.RouterUnregister, func(_ context.Context, route messaging.Route) {
			r.table.unregister(route)
		}),
		messaging.Answer(inbox, messaging.RouterGreet, func(_ context.Context, _ messaging.Signal, reply messaging.Reply) {
			if err := messaging.Send(reply, hello); err != nil {
				r.log.Warn("router.greet.failed", "error", err)
			}
		}),
	)
}

// listen handles messages, reconnections and the age of routes. It returns nil when ctx ends, and the error of the HTTP
// server when that ends first.
func (r *Router) listen(
	ctx context.Context, inbox *messaging.Inbox, connected <-chan nats.Status, hello messaging.RouterHello, served <-chan error,
) error {
	start := func() {
		if err := messaging.RouterStart.Publish(r.conn, hello); err != nil && !errors.Is(err, messaging.ErrDisconnected) {
			r.log.Error("router.start.failed", "error", err)
		}
	}
	start() // without a link, its coming up makes up for this
	prune := time.NewTicker(min(30*time.Second, max(r.cfg.PruneThreshold/4, time.Millisecond)))
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			return err
		case msg := <-inbox.C():
			inbox.Dispatch(ctx, msg)
		case <-connected:
			r.table.renew(time.Now())
			start()
		case <-prune.C:
			if !r.conn.IsConnected() {
				continue
			}
			if dropped := r.table.prune(time.Now()); dropped > 0 {
				r.log.Warn("router.pruned", "routes", dropped)
			}
		}
	}
}

// drain ends the server: first politely, then at once.
func (r *Router) drain(server *http.Server, cut context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.DrainTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		r.log.Warn("router.drain.cut", "error", err)
	}
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	cut()
	_ = server.Close() // what Shutdown has left; its listener is closed already
	r.serving.Wait()
	r.base.CloseIdleConnections()
}

// Routes returns the endpoints of each host, sorted by address.
func (r *Router) Routes() map[string][]Endpoint { return r.table.snapshot() }
