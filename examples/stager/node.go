package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/logging"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework"
	"github.com/deakit/deakit/staging/framework/runtimes"
	"github.com/deakit/deakit/staging/stager"
)

// A node is a stager with what stands beside it.
type node struct {
	log     *slog.Logger
	conn    *nats.Conn
	backend *backends.Backend
	queue   *stager.Queue
	status  *component.Component
}

func (c *config) log(stdout io.Writer) logging.Config {
	return logging.Config{
		Level: *c.Logging.Level, File: c.Logging.File, Syslog: c.Logging.Syslog, Stdout: stdout,
		Format: cmp.Or(c.Deakit.LogFormat, logging.FormatText), SyslogAddress: c.Deakit.SyslogAddress,
	}
}

// open builds all parts and starts none. The caller calls run.
func open(cfg *config, where backends.Config, log *slog.Logger, counts *component.LogCounts) (n *node, err error) {
	n = &node{log: slog.New(counts.Handler(log.Handler()))}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if cfg.Dirs.Tmp != "" {
		if err := os.MkdirAll(cfg.Dirs.Tmp, 0o755); err != nil {
			return n, fmt.Errorf("dirs.tmp: %w", err)
		}
		if err := os.Setenv("TMPDIR", cfg.Dirs.Tmp); err != nil {
			return n, fmt.Errorf("dirs.tmp: %w", err)
		}
	}
	n.conn, err = messaging.Connect(messaging.Config{Servers: []string{*cfg.NATSURI}, Name: "stager", Logger: n.log})
	if err != nil {
		return n, fmt.Errorf("nats_uri: %w", err)
	}
	where.Logger = n.log
	choice, err := backends.Choose(context.Background(), cfg.backend(), where)
	if err != nil {
		return n, err
	}
	if n.backend, err = backends.Open(context.Background(), choice, where); err != nil {
		return n, fmt.Errorf("back end %s: %w", choice.Name, err)
	}
	n.log.Info("stager.backend", "backend", choice.Name, "because", cmp.Or(cfg.whyBackend(), choice.Why))
	if err := n.openQueue(cfg); err != nil {
		return n, err
	}
	n.status, err = component.New(component.Config{
		Type: "Stager", Index: cfg.Index, Host: cfg.host(), Conn: n.conn, LogCounts: counts, Logger: n.log,
		Varz: func(context.Context) map[string]any {
			return map[string]any{"num_pending_tasks": n.queue.Waiting(), "num_active_tasks": n.queue.Active()}
		},
		Metrics: func(context.Context) []component.Metric {
			return []component.Metric{
				component.NewGauge("stager_tasks_waiting", "Requests that wait for their turn.", float64(n.queue.Waiting())),
				component.NewGauge("stager_tasks_active", "Tasks at work.", float64(n.queue.Active())),
			}
		},
	})
	return n, err
}

func (n *node) openQueue(cfg *config) error {
	extras := cfg.Deakit
	options := framework.BuildpackOptions{Strict: extras.Strict}
	options.Original, options.Resources, options.Gems = extras.Original, extras.Resources, extras.Gems
	if options.Gems == "" {
		var err error
		if options.Gems, err = blessedGems(); err != nil {
			return err
		}
	}
	if extras.Runtimes != "" {
		data, err := os.ReadFile(extras.Runtimes)
		if err == nil {
			options.Catalogue, err = runtimes.ParseCatalogue(data)
		}
		if err != nil {
			return fmt.Errorf("deakit.runtimes: %w", err)
		}
	}
	parts := stager.QueueParts{Conn: n.conn, Backend: n.backend, Logger: n.log}
	for _, dir := range extras.Buildpacks {
		bp, err := buildpack.Open("", dir)
		if err != nil {
			return fmt.Errorf("deakit.buildpacks: %w", err)
		}
		parts.Buildpacks = append(parts.Buildpacks, bp)
	}
	var err error
	n.queue, err = stager.NewQueue(stager.QueueConfig{
		Queues: *cfg.Queues, Old: extras.OldRequests, BaseDir: cfg.Dirs.Tmp, MaxActive: int(*cfg.MaxActiveTasks), MaxWaiting: extras.MaxWaiting,
		MaxDuration: time.Duration(*cfg.MaxStagingDuration) * time.Second, Secure: *cfg.Secure,
		MemoryMB: extras.MemoryMB, DiskMB: extras.DiskMB, Frameworks: options,
	}, parts)
	if errors.Is(err, stager.ErrNotSecure) {
		err = fmt.Errorf("%w; install runc, set deakit.backend to runc, or secure to false", err)
	}
	return err
}

// blessedGems are those in the cache of the platform, where there is such a directory.
func blessedGems() (string, error) {
	file := os.Getenv("PLATFORM_CONFIG")
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("PLATFORM_CONFIG: %w", err)
	}
	platform, err := framework.ParsePlatform(data)
	if err != nil {
		return "", fmt.Errorf("PLATFORM_CONFIG: %w", err)
	}
	gems := filepath.Join(platform.Cache, "blessed_gems")
	if info, err := os.Stat(gems); platform.Cache == "" || err != nil || !info.IsDir() {
		return "", nil
	}
	return gems, nil
}

// run works until ctx ends and all tasks have.
func (n *node) run(ctx context.Context) error {
	beside, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	working, stop := context.WithCancel(ctx)
	defer stop()
	var all errgroup.Group
	all.Go(func() error { defer stop(); return n.status.Run(beside) })
	err := n.queue.Run(working)
	end() // figures are shown to the end
	err = errors.Join(err, all.Wait())
	return errors.Join(err, n.close())
}

// close gives back what open opened.
func (n *node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var errs []error
	if n.backend != nil {
		errs = append(errs, n.backend.Close(ctx))
	}
	if n.conn != nil {
		errs = append(errs, messaging.Drain(ctx, n.conn))
	}
	return errors.Join(errs...)
}
