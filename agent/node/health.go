package node

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/deakit/deakit/agent/alert"
	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/agent/vitals"
	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

// openHealth prepares what tells others how the machine is.
func (m *machine) openHealth(context.Context) error {
	m.vitals = vitals.New(vitals.Config{
		Ephemeral: filepath.Join(m.cfg.Base, "data"), Persistent: filepath.Join(m.cfg.Base, "store"), Unmounted: m.cfg.Unmounted, Logger: m.log,
	})
	m.service("vitals", m.vitals.Run)
	if m.conn != nil {
		var err error
		m.heart, err = heartbeat.NewAgent(m.conn, heartbeat.AgentConfig{
			ID: m.place.AgentID, Collect: m.collect, Interval: max(m.cfg.Heartbeat, 0), Logger: m.log,
		})
		if err != nil {
			return err
		}
	}
	switch {
	case m.cfg.Heartbeat < 0:
	case m.heart != nil:
		m.service("heartbeat", m.heart.Run)
	default:
		m.service("health", m.noteHealth)
	}
	if m.cfg.Syslog != "" && !m.cfg.NoAlerts {
		logins, err := alert.NewSSH(alert.SSHConfig{
			Address: m.cfg.Syslog, Logger: m.log,
			Take: func(ctx context.Context, a messaging.AgentAlert) { m.reporter().Login(ctx, a) },
		})
		if err != nil {
			return err
		}
		m.service("system log", logins.Run)
	}
	return nil
}

// reporter sends alerts. Over HTTPS there is nobody to send them to: they are in the log.
func (m *machine) reporter() alert.Reporter {
	send := func(a messaging.AgentAlert) error {
		m.log.Warn("agent.alert", "severity", a.Severity, "title", a.Title, "summary", a.Summary)
		if m.heart == nil {
			return nil
		}
		return m.heart.Alert(a)
	}
	return alert.Reporter{Addresses: m.addresses, Send: send, Logger: m.log}
}

// collect says how the machine is, with what can be had in time.
func (m *machine) collect(ctx context.Context) messaging.AgentHeartbeat {
	status := m.status(ctx)
	figures, err := m.vitals.Read()
	if err != nil {
		m.log.Warn("vitals.incomplete", "error", err)
	}
	h := messaging.AgentHeartbeat{JobState: status.State, Vitals: figures, Processes: status.Count()}
	kept, err := m.specs.Load()
	if err != nil {
		m.log.Error("spec.unreadable", "error", err)
	}
	h.Deployment, h.Index, h.NodeID = kept.Deployment, kept.Index, kept.ID
	if kept.Job.Name != "" {
		h.Job = &kept.Job.Name
	}
	if m.cfg.Legacy {
		ntp := m.ntp()
		h.NTP = &ntp
	}
	if err := supervisor.Files(m.cfg.Base).WriteHealth(status.State); err != nil {
		m.log.Error("health.unwritten", "error", err)
	}
	return h
}

// ntp tells how well the clock is set, by the end of the log that ntpdate writes.
func (m *machine) ntp() messaging.AgentNTP {
	const most = 64 << 10
	f, err := os.Open(filepath.Join(m.cfg.Base, "bosh", "log", "ntpdate.out"))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			m.log.Warn("ntp.unreadable", "error", err)
		}
		return vitals.NTP("")
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd) // where it cannot, the beginning has to do
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		m.log.Warn("ntp.unreadable", "error", err)
	}
	return vitals.NTP(string(text))
}

// noteHealth tells the jobs on the machine how it is where no heartbeat does.
func (m *machine) noteHealth(ctx context.Context) error {
	every := time.NewTicker(m.cfg.Heartbeat)
	defer every.Stop()
	for {
		m.collect(ctx)
		select {
		case <-every.C:
		case <-ctx.Done():
			return nil
		}
	}
}
