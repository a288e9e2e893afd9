package node

import (
	"context"
	"path/filepath"
	"time"

	"github.com/deakit/deakit/agent/alert"
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
		m.service("heartbeat", m.settled(m.heart.Run))
	default:
		m.service("health", m.settled(m.noteHealth))
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

// collect says how the machine is. It is asked by one service only, and when all steps are done.
func (m *machine) collect(ctx context.Context) messaging.AgentHeartbeat {
	if m.hurry {
		m.hurry = false
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, brief)
		defer cancel()
	}
	return m.methods.Heartbeat(ctx)
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
