package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
)

// A backend is what stands behind the protocol.
type backend struct {
	container.Backend
	destroy func(context.Context) error // ends all containers, and gives the back end up
}

// An opener opens a back end as the configuration says.
type opener func(cfg *config, log *slog.Logger) (*backend, error)

// openers are the back ends by name.
var openers = map[string]opener{
	"process": openProcess,
}

// strength is the order in which auto tries them.
var strength = []string{"process"}

func backendNames() []string { return slices.Sorted(maps.Keys(openers)) }

// openBackend opens the back end of that name, or the strongest one that works, and says why.
func openBackend(name string, cfg *config, log *slog.Logger) (*backend, error) {
	if name != "auto" {
		b, err := openers[name](cfg, log)
		if err != nil {
			return nil, fmt.Errorf("back end %s: %w", name, err)
		}
		log.Info("warden.backend", "backend", name, "because", "it was asked for")
		return b, nil
	}
	var err error
	for _, name := range strength {
		var b *backend
		if b, err = openers[name](cfg, log); err == nil {
			log.Info("warden.backend", "backend", name, "because", "it is the strongest that works here")
			return b, nil
		}
		log.Info("warden.backend.unusable", "backend", name, "error", err)
	}
	return nil, fmt.Errorf("no back end works here: %w", err)
}

func openProcess(cfg *config, log *slog.Logger) (*backend, error) {
	opts := process.Options{
		Depot: cfg.Server.Depot, HostIP: cfg.Deakit.HostIP, Logger: log,
		StopGrace: time.Duration(cfg.Deakit.StopGrace * float64(time.Second)),
	}
	if cfg.Port.First > 0 {
		opts.Ports = process.PortRange{First: cfg.Port.First, Last: cfg.Port.First + cfg.Port.Size - 1}
	}
	b, err := process.New(opts)
	if err != nil {
		return nil, err
	}
	return &backend{Backend: b, destroy: b.Close}, nil
}
