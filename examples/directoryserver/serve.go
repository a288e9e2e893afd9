package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/examples/internal/fileserver"
	"github.com/deakit/deakit/logging"
)

// A node is a directory server with what stands beside it.
type node struct {
	log    *slog.Logger
	remote *directory.Remote
	files  *fileserver.Server
	status *component.Component // nil: its figures are not asked for
	dea    string               // address of its file API

	listener, statusListener net.Listener
}

// open builds all parts and opens their ports, so that one that is taken is told before anything begins. The caller calls
// run.
func open(cfg *config.FileServer, c *cli, log *slog.Logger, output *logging.Output) (*node, error) {
	var counts component.LogCounts
	d := cfg.DirectoryServer
	n := &node{log: slog.New(counts.Handler(log.Handler())), dea: onPort("127.0.0.1", d.FileAPIPort)}
	var err error
	n.remote, err = directory.NewRemote(directory.RemoteConfig{
		URL: "http://" + n.dea, Under: c.Under, AsOwner: !c.AsRoot,
		Cache: cfg.Deakit.DirectoryCache, MaxAge: cfg.Deakit.FileURLs.Lifetime,
	})
	if err != nil {
		return nil, err
	}
	files, err := directory.NewServer(directory.Config{Resolver: n.remote, StreamingTimeout: d.StreamingTimeout, Logger: n.log})
	if err != nil {
		return nil, err
	}
	n.files = fileserver.New(files, n.log)
	host := cfg.Deakit.Host
	if host == "" {
		host = component.LocalIP()
	}
	if n.listener, err = listen("directory_server.v2_port", host, d.V2Port); err != nil {
		return nil, err
	}
	if port := cfg.Deakit.DirectoryStatusPort; port != 0 {
		n.status, err = component.New(component.Config{
			Type: "DirectoryServer", Index: cfg.Index, Host: "127.0.0.1", Port: port,
			User: cfg.Status.User, Password: string(cfg.Status.Password), LogCounts: &counts, Logger: n.log,
			Metrics: func(ctx context.Context) []component.Metric {
				up := 0.0
				if n.reachDEA(ctx) == nil {
					up = 1
				}
				return append(n.files.Metrics(),
					component.NewGauge("directory_dea_up", "Whether the file API of the DEA takes connections: 1 or 0.", up),
					component.NewCounter("directory_log_lines_lost_total", "Log lines that could not be written.", float64(output.Lost())))
			},
		})
		if err == nil {
			n.statusListener, err = listen("deakit.directory_status_port", "127.0.0.1", port)
		}
		if err != nil {
			return nil, errors.Join(err, n.listener.Close())
		}
	}
	return n, nil
}

func onPort(host string, port uint16) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }

// reachDEA connects to the file API and asks nothing: an original DEA would log each question.
func (n *node) reachDEA(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", n.dea)
	if err != nil {
		return err
	}
	return conn.Close()
}

// listen opens the port that a key of the configuration has.
func listen(key, host string, port uint16) (net.Listener, error) {
	l, err := net.Listen("tcp", onPort(host, port))
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && key == "directory_server.v2_port":
		return nil, fmt.Errorf("%s: %w; a DEA leaves the port free with --no-directory-server", key, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: %w; set deakit.host to an address of this machine", key, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

// run works until ctx ends. A part that fails ends the other.
func (n *node) run(ctx context.Context) error {
	defer n.remote.Close()
	if err := n.reachDEA(ctx); err != nil && ctx.Err() == nil {
		n.log.Warn("directory.dea.unreachable", "error", err, "remedy", "start the DEA; until then requests are answered with 500")
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return n.files.Run(ctx, n.listener) })
	n.log.Info("directory.listening", "for", "files", "address", n.listener.Addr().String())
	if n.status != nil {
		all.Go(func() error { return n.status.Serve(ctx, n.statusListener) })
		n.log.Info("directory.listening", "for", "status", "address", n.statusListener.Addr().String())
	}
	return all.Wait()
}
