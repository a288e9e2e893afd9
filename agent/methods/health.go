package methods

import (
	"context"

	"path/filepath"

	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/agent/vitals"
	"github.com/deakit/deakit/messaging"
)

// Heartbeat is how the machine is at this moment, for heartbeat.AgentConfig.Collect. It has an answer also when the supervisor
// has none before ctx ends, and tells jobs on the machine the same in instance/health.json.
func (m *Machine) Heartbeat(ctx context.Context) messaging.AgentHeartbeat {
	status := m.status(ctx)
	if err := supervisor.Files(m.cfg.Base).WriteHealth(status.State); err != nil {
		m.log.Warn("agent.health.not_written", "error", err)
	}
	beat := messaging.AgentHeartbeat{JobState: status.State, Processes: status.Count()}
	if v := m.vitals(); v != nil {
		beat.Vitals = *v
	}
	if m.cfg.Legacy {
		ntp := m.ntp()
		beat.NTP = &ntp
	}
	s, err := m.specs.Load()
	if err != nil {
		m.log.Error("agent.spec.unreadable", "error", err) // that it lives is worth telling all the same
		return beat
	}
	beat.Deployment, beat.NodeID, beat.Index = s.Deployment, s.ID, s.Index
	if s.Job.Name != "" {
		beat.Job = &s.Job.Name
	}
	return beat
}

// status asks the supervisor, which may not answer.
func (m *Machine) status(ctx context.Context) supervisor.Status {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.StatusTime)
	defer cancel()
	status := m.Supervisor.Status(ctx)
	if status.Err != nil {
		m.log.Warn("agent.supervisor.unknown", "error", status.Err)
	}
	return status
}

// vitals measures what can be measured; nil where nothing is.
func (m *Machine) vitals() *messaging.AgentVitals {
	if m.Vitals == nil {
		return nil
	}
	v, err := m.Vitals.Read()
	if err != nil {
		m.log.Warn("agent.vitals.incomplete", "error", err)
	}
	return &v
}

// ntp is how well the clock is set.
func (m *Machine) ntp() messaging.AgentNTP {
	return vitals.NTP(filepath.Join(m.cfg.Base, "bosh/log/ntpdate.out"))
}
