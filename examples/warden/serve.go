package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/signals"
	"github.com/deakit/deakit/internal/httpserve"
	"github.com/deakit/deakit/internal/pidfile"
	"github.com/deakit/deakit/logging"
)

// serve runs the server until a signal ends it.
func (c *cli) serve(cfg *config, warnings []string) (err error) {
	log, output, err := logging.New(logging.Config{
		Level: cfg.Logging.Level, Format: cfg.Deakit.Format, File: cfg.Logging.File, Syslog: cfg.Logging.Syslog,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, output.Close()) }()
	for _, w := range warnings {
		log.Warn("config.warning", "warning", w)
	}
	if cfg.Server.PIDFile != "" {
		pid, err := pidfile.Create(cfg.Server.PIDFile)
		if err != nil {
			return err
		}
		defer pid.Remove()
	}
	b, err := openBackend(c.Backend, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.closeBackend(b, err != nil)) }()
	options := cfg.server()
	options.Backend, options.Logger = b, log
	server, err := warden.NewServer(options)
	if err != nil {
		return err
	}
	listener, err := warden.Listen(cfg.Server.Path, cfg.Server.Permissions)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	stop := obeySignals(end, func() {
		if err := output.Reopen(); err != nil {
			log.Error("log.reopen.failed", "error", err)
		}
	})
	defer stop()
	log.Info("warden.listening", "socket", cfg.Server.Path)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return server.Run(ctx, listener) })
	if port := *cfg.Health.Port; port != 0 {
		all.Go(func() error { return health(ctx, port, log) })
	}
	return all.Wait()
}

// closeBackend leaves the containers to the next start, or ends them where that was asked for and nothing failed.
func (c *cli) closeBackend(b *backends.Backend, failed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if c.Destroy && !failed {
		return b.Close(ctx)
	}
	return b.Leave(ctx)
}

// health answers any request on localhost that the server lives.
func health(ctx context.Context, port uint16, log *slog.Logger) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return fmt.Errorf("health_check_server.port: %w", err)
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	return httpserve.Run(ctx, httpserve.New(ok, log), l)
}

// obeySignals does what signals ask for, until stop is called: the first one to end calls end, the second one ends the process.
func obeySignals(end, reopen func()) (stop func()) {
	return signals.Keep(syscall.SIGHUP).Obey(signals.Orders{
		EndBy: []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR2},
		End: []func(){end, func() {
			fmt.Fprintln(os.Stderr, "warden: ended at once by a second signal; containers go on")
			os.Exit(exitFailed)
		}},
		Others: map[os.Signal]func(){syscall.SIGHUP: reopen},
	})
}
