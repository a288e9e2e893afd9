package methods

import (
	"context"
	"fmt"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/script"
	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/agent/supervisor"
)

// waitingStop is the protocol since which stop waits for the processes to end (bosh-agent).
const waitingStop = 3

func (m *Machine) jobMethods() []action.Method {
	return []action.Method{
		{Name: "prepare", Async: true, Do: m.prepare},
		{Name: "apply", Async: true, Do: m.apply},
		{Name: "start", Do: m.start},
		{Name: "stop", Async: true, Do: m.stop},
		{Name: "drain", Async: true, Cancellable: true, Do: m.drain},
		{Name: "run_script", Async: true, Do: m.scripts.RunScript},
		{Name: "run_errand", Async: true, Cancellable: true, Do: m.runErrand},
	}
}

func (m *Machine) prepare(ctx context.Context, s spec.Spec) (string, error) {
	return alone(ctx, m, func() (string, error) {
		s, err := s.WithAddresses(m.addresses())
		if err != nil {
			return "", err
		}
		return m.jobs.Prepare(ctx, s)
	})
}

// apply results in the spec with an agent of old.
func (m *Machine) apply(ctx context.Context, s spec.Spec) (any, error) {
	return alone(ctx, m, func() (any, error) {
		s, err := s.WithAddresses(m.addresses())
		if err != nil {
			return nil, err
		}
		if err := m.warnOfRunning(s); err != nil {
			return nil, err
		}
		applied, err := m.jobs.Apply(ctx, s)
		if err == nil && m.cfg.Legacy {
			return s, nil
		}
		return applied, err
	})
}

// warnOfRunning tells in the log that jobs are replaced which were started and not stopped, as directors never do.
func (m *Machine) warnOfRunning(next spec.Spec) error {
	if next.ConfigurationHash == "" {
		return nil
	}
	files := supervisor.Files(m.cfg.Base)
	stopped, err := files.Stopped()
	if err != nil {
		return err
	}
	started, err := files.All()
	if err == nil && !stopped && len(started) > 0 {
		m.log.Warn("agent.apply.jobs_run", "monit_files", len(started), "remedy", "stop, then apply, then start")
	}
	return err
}

// addresses are what the settings know of the networks.
func (m *Machine) addresses() map[string]spec.Address {
	known := make(map[string]spec.Address, len(m.Settings.Networks))
	for name, n := range m.Settings.Networks {
		known[name] = spec.Address{DHCP: n.DHCP(), IP: n.IP, Netmask: n.Netmask, Gateway: n.Gateway}
	}
	return known
}

// start gives the supervisor the monit files, which apply does not, and has all processes started. It does not wait for them.
func (m *Machine) start(ctx context.Context) (string, error) {
	return alone(ctx, m, func() (string, error) {
		files, err := m.jobs.MonitFiles()
		if err != nil {
			return "", err
		}
		for _, f := range files {
			if err := m.Supervisor.AddJob(supervisor.JobFile(f)); err != nil {
				return "", fmt.Errorf("Adding monit file %s: %w", f.Label, err)
			}
		}
		if err := m.Supervisor.Reload(ctx); err != nil {
			return "", err
		}
		if err := m.Supervisor.Start(ctx); err != nil {
			return "", fmt.Errorf("Starting Monitored Services: %w", err)
		}
		return "started", nil
	})
}

func (m *Machine) stop(ctx context.Context) (string, error) {
	stop := m.Supervisor.Stop
	if action.RequestOf(ctx).Protocol >= waitingStop {
		stop = m.Supervisor.StopAndWait
	}
	return alone(ctx, m, func() (string, error) {
		if err := stop(ctx); err != nil {
			return "", fmt.Errorf("Stopping Monitored Services: %w", err)
		}
		return "stopped", nil
	})
}

func (m *Machine) drain(ctx context.Context, kind string, next *spec.Spec) (int, error) {
	return alone(ctx, m, func() (int, error) { return m.scripts.Drain(ctx, kind, next) })
}

// runErrand runs the first job by default: old agents took it from the list of jobs, whatever else the spec names.
func (m *Machine) runErrand(ctx context.Context, name *string) (script.ErrandResult, error) {
	if name == nil && m.cfg.Legacy {
		current, err := m.specs.Load()
		if err != nil {
			return script.ErrandResult{}, err
		}
		if jobs := current.Templates(); len(jobs) > 0 {
			name = &jobs[0].Name
		}
	}
	return m.scripts.RunErrand(ctx, name)
}
