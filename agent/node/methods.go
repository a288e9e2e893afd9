package node

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/deakit/deakit/agent"
	"github.com/deakit/deakit/agent/certs"
	"github.com/deakit/deakit/agent/hosts"
	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/agent/sshuser"
	"github.com/deakit/deakit/agent/task"
	"github.com/deakit/deakit/agent/transport"
)

// openMethods puts together what the methods of the agent work on.
func (m *machine) openMethods(context.Context) error {
	cfg := methods.Config{
		AgentID: m.place.AgentID, Base: m.cfg.Base, SystemRoot: m.cfg.Root, Owner: methods.VcapOwner(),
		Legacy: m.cfg.Legacy, PowerOff: m.cfg.PowerOff, Logger: m.log,
	}
	if cfg.PowerOff == nil {
		cfg.PowerOff = func(context.Context) error {
			m.end(ErrShutdown)
			return nil
		}
	}
	if m.heart != nil {
		cfg.NotifyShutdown = m.heart.Shutdown
	}
	parts := methods.Parts{
		Loader: m.loader, Settings: m.current.Load(), Blobs: m.blobs, Sensitive: m.sensitive, Supervisor: m.supervisor,
		Disks: m.disks, Users: m.cfg.Users, Vitals: m.vitals,
	}
	if m.cfg.Root == "/" {
		cfg.ForgetNeighbor = methods.FlushNeighbor
	}
	if err := m.openSystem(&parts); err != nil {
		return err
	}
	var err error
	m.methods, err = methods.New(cfg, parts)
	m.service("methods", m.methodsEnd)
	return err
}

// openSystem adds the parts that work on the system outside of the base directory.
func (m *machine) openSystem(parts *methods.Parts) (err error) {
	if m.cfg.Root == "" {
		return nil
	}
	if parts.Users == nil && m.cfg.Root == "/" {
		if parts.Users, err = sshuser.New(sshuser.Config{Base: m.cfg.Base}); err != nil {
			return err
		}
	}
	trust := certs.Config{Root: m.cfg.Root}
	if m.cfg.Root != "/" { // what is there is not what the programs of this machine look at
		trust.Update = func(context.Context) error { return nil }
	}
	if parts.Certs, err = certs.New(trust); err != nil {
		return err
	}
	parts.Hosts, err = hosts.New(hosts.Config{
		Base: m.cfg.Base, HostsFile: filepath.Join(m.cfg.Root, "etc", "hosts"), Hostname: m.place.AgentID, Group: m.group, Logger: m.log,
	})
	return err
}

// methodsEnd ends the node when a method wants that, to be started again or not.
func (m *machine) methodsEnd(ctx context.Context) error {
	switch err := m.methods.Run(ctx); {
	case errors.Is(err, methods.ErrShutdown):
		m.end(ErrShutdown)
	case err != nil:
		m.end(ErrRestart)
	}
	return nil
}

func (m *machine) bootMethods(ctx context.Context) error { return m.methods.Boot(ctx) }

// openAgent puts the methods behind the bus.
func (m *machine) openAgent(context.Context) (err error) {
	m.agent, err = agent.New(agent.Config{
		ID: m.place.AgentID, Transports: []transport.Transport{m.bus}, Methods: slices.Concat(m.methods.Methods(), m.cfg.Methods),
		Tasks: task.Config{Store: task.NewStore(filepath.Join(m.cfg.Base, "bosh", "tasks.json"))}, Logger: m.log,
	})
	return err
}
