// Package platform wires all parts of the reference platform together in one process: a NATS server, a blob store, a
// router, a stager, DEAs, a directory server and a controller. Each part has its own connection and its own state; they
// talk over NATS and HTTP only, on loopback.
package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/examples/paas/router"
	"github.com/deakit/deakit/messaging"
)

// Options of a platform. Dir is required.
type Options struct {
	// Dir holds everything that the platform writes. What apps had there before is ended and removed.
	Dir string

	// Addresses to listen on, on loopback; port 0 takes a free one. Defaults 127.0.0.1:0.
	APIAddr, RouterAddr, NATSAddr string

	Domain   string // of the apps; default "paas.localhost"
	Backend  string // what apps and buildpacks run in, one of backends.Names; default "process"
	DEAs     int    // those of this process; others may join over NATS
	MemoryMB int64  // of each DEA and of the stager; default 2048

	Logger *slog.Logger // nil discards
}

// A Platform has all of its parts built and its sockets open.
type Platform struct {
	opts       Options
	log        *slog.Logger
	nats       *server.Server
	natsURL    string
	api        net.Listener
	blobs      *blobServer
	router     *router.Router
	routerAddr string
	files      *fileServer
	controller *controller.Controller
	stager     *stagerNode
	backend    backends.Choice
	close      []func() // what New opened, in reverse order of use

	mu   sync.Mutex
	deas []*deaNode
}

// New builds a platform. When it fails, as when ctx ends, nothing is left open. The caller calls Run.
func New(ctx context.Context, opts Options) (*Platform, error) {
	opts.Domain = cmp.Or(opts.Domain, "paas.localhost")
	opts.MemoryMB = cmp.Or(opts.MemoryMB, 2048)
	opts.Backend = cmp.Or(opts.Backend, backends.Process)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Dir == "" {
		return nil, errors.New("platform: Dir is required")
	}
	if opts.DEAs < 0 || opts.MemoryMB < 0 {
		return nil, fmt.Errorf("platform: %d DEAs with %d MB each: neither may be negative", opts.DEAs, opts.MemoryMB)
	}
	for _, addr := range []string{opts.APIAddr, opts.RouterAddr, opts.NATSAddr} {
		if err := checkLoopback(addr); err != nil {
			return nil, err
		}
	}
	p := &Platform{opts: opts, log: opts.Logger}
	for name, build := range p.parts() {
		err := ctx.Err()
		if err == nil {
			err = build(ctx)
		}
		if err != nil {
			p.closeAll()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return p, nil
}

// checkLoopback refuses addresses that others could reach: the platform runs what it is given, and asks for no password.
func checkLoopback(addr string) error {
	if addr == "" {
		return nil
	}
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", addr, err)
	}
	if !resolved.IP.IsLoopback() {
		return fmt.Errorf("address %q is not on loopback: use 127.0.0.1:PORT; this platform trusts whoever reaches it", addr)
	}
	return nil
}

// parts yields the parts in the order in which they need each other.
func (p *Platform) parts() iter.Seq2[string, func(context.Context) error] {
	quick := func(build func() error) func(context.Context) error {
		return func(context.Context) error { return build() }
	}
	return func(yield func(string, func(context.Context) error) bool) {
		_ = yield("data directory", quick(func() error { return os.MkdirAll(p.opts.Dir, 0o755) })) &&
			yield("back end", p.chooseBackend) &&
			yield("NATS server", quick(p.openNATS)) &&
			yield("blob store", quick(p.openBlobs)) &&
			yield("router", quick(p.openRouter)) &&
			yield("directory server", quick(p.openFiles)) &&
			yield("stager", p.openStager) &&
			yield("DEAs", p.openDEAs) &&
			yield("controller", quick(p.openController))
	}
}

func (p *Platform) closeAll() {
	for n := len(p.close) - 1; n >= 0; n-- {
		p.close[n]()
	}
}

func (p *Platform) onClose(f func()) { p.close = append(p.close, f) }

// Info tells clients where things are.
func (p *Platform) Info() controller.Info {
	return controller.Info{Domain: p.opts.Domain, Router: p.routerAddr, NATS: p.natsURL}
}

// Backend is what apps and buildpacks run in, and why.
func (p *Platform) Backend() backends.Choice { return p.backend }

// APIURL is where the controller listens.
func (p *Platform) APIURL() string { return "http://" + p.api.Addr().String() }

// Run works until ctx ends, then stops apps and parts in an orderly way and returns. It returns an error when a part
// failed; the others are stopped then. Call it once.
func (p *Platform) Run(ctx context.Context) error {
	defer p.closeAll()
	// Those who work on behalf of apps end first, while those whom they talk to are still there.
	ground, endGround := context.WithCancel(context.WithoutCancel(ctx))
	defer endGround()
	grounds, ground := errgroup.WithContext(ground)
	grounds.Go(func() error { return p.router.Run(ground) })
	grounds.Go(func() error { return p.blobs.Run(ground) })
	grounds.Go(func() error { return p.files.Run(ground) })

	workers, ctx := errgroup.WithContext(ctx)
	workers.Go(func() error { // a failure of the ground ends the workers too
		select {
		case <-ground.Done():
			return context.Cause(ground)
		case <-ctx.Done():
			return nil
		}
	})
	workers.Go(func() error { return p.stager.Run(ctx) })
	for _, node := range p.nodes() {
		workers.Go(func() error { return p.runDEA(ctx, node) })
	}
	workers.Go(func() error { return p.controller.Run(ctx) })
	workers.Go(func() error { return serve(ctx, p.api, p.controller.API(p.Info())) })
	err := workers.Wait()
	endGround()
	return errors.Join(err, grounds.Wait())
}

// runDEA runs one DEA until it leaves; the platform goes on without it.
func (p *Platform) runDEA(ctx context.Context, node *deaNode) error {
	err := node.Run(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, other := range p.deas {
		if other == node {
			p.deas = append(p.deas[:n:n], p.deas[n+1:]...)
		}
	}
	return err
}

func (p *Platform) nodes() []*deaNode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*deaNode(nil), p.deas...)
}

// evacuate is what an operator's signal to a DEA is elsewhere.
func (p *Platform) evacuate(id string) bool {
	for _, node := range p.nodes() {
		if node.dea.ID() == id {
			node.dea.Evacuate()
			return true
		}
	}
	return false
}

func (p *Platform) openNATS() error {
	addr, err := net.ResolveTCPAddr("tcp", cmp.Or(p.opts.NATSAddr, "127.0.0.1:0"))
	if err != nil {
		return err
	}
	port := addr.Port
	if port == 0 {
		port = server.RANDOM_PORT
	} else if probe, err := net.ListenTCP("tcp", addr); err != nil {
		return err // the server itself would not say so
	} else if err := probe.Close(); err != nil {
		return err
	}
	p.nats, err = server.NewServer(&server.Options{
		ServerName: "paas", Host: addr.IP.String(), Port: port, NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
	})
	if err != nil {
		return err
	}
	go p.nats.Start()
	p.onClose(func() { p.nats.Shutdown(); p.nats.WaitForShutdown() })
	if !p.nats.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("not ready at %s after 10 s: is the port taken?", addr)
	}
	p.natsURL = "nats://" + p.nats.Addr().String()
	return nil
}

// connect gives a part its own connection.
func (p *Platform) connect(name string) (*nats.Conn, error) {
	conn, err := messaging.Connect(messaging.Config{
		Servers: []string{p.natsURL}, Name: name, ReconnectWait: 100 * time.Millisecond, Logger: p.log.With("part", name),
	})
	if err != nil {
		return nil, err
	}
	p.onClose(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := messaging.Drain(ctx, conn); err != nil {
			p.log.Warn("platform.drain.failed", "part", name, "error", err)
		}
	})
	return conn, nil
}

func (p *Platform) openRouter() error {
	conn, err := p.connect("router")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cmp.Or(p.opts.RouterAddr, "127.0.0.1:0"))
	if err != nil {
		return err
	}
	p.onClose(func() { _ = listener.Close() }) // closed already where Run was called
	p.routerAddr = listener.Addr().String()
	p.router = router.New(router.Config{Listener: listener}, conn, p.log.With("part", "router"))
	return nil
}

func (p *Platform) openController() error {
	conn, err := p.connect("controller")
	if err != nil {
		return err
	}
	keys, err := p.blobs.addBuildpacks()
	if err != nil {
		return err
	}
	p.controller = controller.New(controller.Config{
		Domain: p.opts.Domain, Buildpacks: keys, Evacuate: p.evacuate, Logger: p.log.With("part", "controller"),
	}, conn, p.blobs)
	p.api, err = net.Listen("tcp", cmp.Or(p.opts.APIAddr, "127.0.0.1:0"))
	if err != nil {
		return fmt.Errorf("API: %w", err)
	}
	p.onClose(func() { _ = p.api.Close() }) // closed already where Run was called
	return nil
}

// serve answers requests until ctx ends, and then gives those in flight a moment.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	base, cut := context.WithCancel(context.Background())
	defer cut()
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return base },
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	cut() // those who follow something learn that it is over
	grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.Shutdown(grace); err != nil {
		_ = s.Close() // the error says the same: some did not end
	}
	<-ended
	return nil
}

func (p *Platform) path(parts ...string) string {
	return filepath.Join(append([]string{p.opts.Dir}, parts...)...)
}
