package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/examples/internal/fileserver"
	"github.com/deakit/deakit/internal/httpserve"
)

// directoryServer is the name of one of the servers below.
const directoryServer = "directory server"

// A server works beside the DEA until its context ends.
type server struct {
	name string
	run  func(context.Context) error
}

// run works until ctx ends, or an evacuation is over. A part that fails ends the others.
func (n *node) run(ctx context.Context) error {
	beside, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	helpers, beside := errgroup.WithContext(beside)
	for _, s := range n.servers {
		helpers.Go(func() error {
			if err := s.run(beside); err != nil {
				return fmt.Errorf("dea: %s: %w", s.name, err)
			}
			return nil
		})
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(beside, stop)()
	err := n.work(working, stop)
	end() // what tells of the DEA ends after it
	err = errors.Join(err, helpers.Wait())
	err = errors.Join(err, n.closeBackend(err != nil))
	return errors.Join(err, n.close())
}

// work runs the DEA and the stager, side by side: when one ends, so does the other.
func (n *node) work(ctx context.Context, stop func()) error {
	var agents errgroup.Group
	agents.Go(func() error { defer stop(); return n.dea.Run(ctx) })
	if n.stager != nil {
		agents.Go(func() error { defer stop(); return n.stager.Run(ctx) })
	}
	return agents.Wait()
}

// serve opens a listener now, so that a port that is taken is told before anything begins, and serves it later. key is where the
// configuration has the port.
func (n *node) serve(name, key, address string, run func(context.Context, net.Listener) error) error {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) && name == directoryServer {
		return fmt.Errorf("%s: %w; beside a directory server in a process of its own, start the DEA with --no-directory-server", key, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	n.onClose(func() error { _ = l.Close(); return nil }) // closed already where it was served
	n.servers = append(n.servers, server{name, func(ctx context.Context) error { return run(ctx, l) }})
	n.log.Info("dea.listening", "for", name, "address", l.Addr().String())
	return nil
}

// openStatus opens the endpoint for figures and, over NATS, tells where it is; also what posts heartbeats.
func (n *node) openStatus() error {
	if n.poster != nil {
		n.servers = append(n.servers, server{"heartbeats over HTTP", n.poster.Run})
	}
	status, err := component.New(component.Config{
		Type: "DEA", Index: n.cfg.Index, UUID: n.id, Host: n.host, Port: n.cfg.Status.Port,
		User: n.cfg.Status.User, Password: string(n.cfg.Status.Password), Conn: n.conn, LogCounts: &n.log.counts, Logger: n.log.Logger,
		Varz: n.varz, Metrics: n.metrics,
	})
	if err != nil {
		return err
	}
	return n.serve("status", "status.port", net.JoinHostPort(n.host, strconv.Itoa(int(n.cfg.Status.Port))), status.Serve)
}

// varz are the figures of the DEA and of what its containers run in.
func (n *node) varz(ctx context.Context) map[string]any {
	figures := n.dea.Varz(ctx, n.stagingShare())
	maps.Copy(figures, n.backend.Stats().Varz())
	return figures
}

func (n *node) metrics(context.Context) []component.Metric {
	s := n.backend.Stats()
	return append(slices.Concat(n.dea.Metrics(n.stagingShare()), n.lineMetrics(), n.served.Metrics()),
		component.NewCounter("dea_container_requests_total", "Requests to the container back end.", float64(s.Requests)),
		component.NewCounter("dea_container_errors_total", "Requests to the container back end that failed.", float64(s.Errors)),
		component.NewCounter("dea_container_seconds_total", "Time of all requests to the container back end.", s.Time.Seconds()),
		component.NewGauge("dea_nats_connected", "Whether there is a NATS server: 1 or 0.", connected(n.conn.IsConnected())),
		component.NewCounter("dea_log_lines_lost_total", "Log lines that could not be written.", float64(n.log.output.Lost())),
	)
}

func connected(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// openHTTPS opens the entry for start and staging messages, where the configuration has one.
func (n *node) openHTTPS() error {
	ssl := n.cfg.SSL
	if ssl == nil {
		return nil
	}
	tls, err := dea.ServerTLS(dea.TLSFiles{KeyFile: ssl.KeyFile, CertFile: ssl.CertFile, CAFile: ssl.CAFile}, n.log.Logger)
	if err != nil {
		return err
	}
	return n.serve("https", "ssl.port", ":"+strconv.Itoa(int(ssl.Port)), func(ctx context.Context, l net.Listener) error {
		s := httpserve.New(n.dea.Handler(n.stage), n.log.Logger)
		s.TLSConfig = tls
		return httpserve.Run(ctx, s, l)
	})
}

// files are those of instances and of staging tasks.
type files struct{ *node }

// Instance implements directory.Lookup.
func (f files) Instance(ctx context.Context, id string) (directory.Tree, error) {
	return f.dea.Instance(ctx, id)
}

// StagingTask implements directory.Lookup.
func (f files) StagingTask(ctx context.Context, id string) (directory.Tree, error) {
	if f.stager == nil {
		return directory.Tree{}, directory.ErrUnknown
	}
	return f.stager.StagingTask(ctx, id)
}

// openFiles opens what tells a directory server where files are and, unless one stands apart, the directory server.
func (n *node) openFiles(serveThem bool) error {
	local := directory.NewLocal(n.signer, files{n})
	api := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(n.cfg.DirectoryServer.FileAPIPort)))
	err := n.serve("file API", "directory_server.file_api_port", api, func(ctx context.Context, l net.Listener) error {
		return httpserve.Run(ctx, httpserve.New(directory.FileAPI(local, n.log.Logger), n.log.Logger), l)
	})
	if err != nil || !serveThem {
		return err
	}
	s, err := directory.NewServer(directory.Config{
		Resolver: local, StreamingTimeout: n.cfg.DirectoryServer.StreamingTimeout, Logger: n.log.Logger,
	})
	if err != nil {
		return err
	}
	n.served = fileserver.New(s, n.log.Logger)
	return n.serve(directoryServer, "directory_server.v2_port", net.JoinHostPort(n.host, strconv.Itoa(int(n.cfg.DirectoryServer.V2Port))), n.served.Run)
}

// nameFiles says under which host name files are served: the one that the configuration has, or one that is drawn.
func (n *node) nameFiles() error {
	if n.cfg.Domain == "" {
		return nil
	}
	label := directory.NewToken()
	if urls := n.cfg.Deakit.FileURLs; urls != nil && urls.HostLabel != "" {
		label = urls.HostLabel
	}
	n.files = directory.BaseURL(n.cfg.DirectoryServer.Protocol, label, n.cfg.Domain)
	return nil
}

func (n *node) filesHost() string {
	u, err := url.Parse(n.files)
	if err != nil {
		return "" // it was made of parts that were checked
	}
	return u.Host
}
