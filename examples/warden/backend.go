package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/examples/internal/backends"
)

// containers is where and how the server keeps its containers.
func (c *config) containers(log *slog.Logger) backends.Config {
	cfg := backends.Config{
		Depot: c.Server.Depot, HostIP: c.Deakit.HostIP, Logger: log,
		StopGrace: time.Duration(c.Deakit.StopGrace * float64(time.Second)), Hide: []string{c.Deakit.StateDir},
	}
	if c.Port.First > 0 {
		cfg.Ports = process.PortRange{First: c.Port.First, Last: c.Port.First + c.Port.Size - 1}
	}
	return cfg
}

// openBackend opens the back end of that name, or the strongest one that works, and says why.
func openBackend(name string, cfg *config, log *slog.Logger) (*backends.Backend, error) {
	where := cfg.containers(log)
	choice, err := backends.Choose(context.Background(), name, where)
	if err != nil {
		return nil, err
	}
	b, err := backends.Open(context.Background(), choice, where)
	if err != nil {
		return nil, fmt.Errorf("back end %s: %w", choice.Name, err)
	}
	log.Info("warden.backend", "backend", choice.Name, "because", choice.Why)
	if missing := b.Capabilities().Unenforced(); len(missing) > 0 {
		log.Warn("warden.backend.capabilities", "backend", choice.Name, "not_enforced", strings.Join(missing, ", "))
	}
	return b, nil
}
