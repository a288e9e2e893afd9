package node

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/deakit/deakit/agent/alert"
	"github.com/deakit/deakit/agent/monit"
	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/messaging"
)

// openSupervisor prepares who keeps the processes of jobs running.
func (m *machine) openSupervisor(context.Context) error {
	switch m.cfg.Supervisor {
	case Monit:
		return m.openMonit()
	case Dev:
		cfg := supervisor.DevConfig{Base: m.cfg.Base, Logger: m.log}
		if !m.cfg.NoAlerts {
			cfg.Report = func(e alert.Event) { m.reporter().Event(e) }
		}
		dev, err := supervisor.NewDev(cfg)
		if err != nil {
			return err
		}
		m.supervisor = dev
		m.service("development supervisor", dev.Run)
	case None:
		m.supervisor = nobody{supervisor.Files(m.cfg.Base)}
	}
	return nil
}

// openMonit prepares monit as a child, or as what a service manager runs, and the server to which it mails.
func (m *machine) openMonit() error {
	user, password, err := monit.EnsureUser(m.cfg.Base)
	if err != nil {
		return err
	}
	if err := m.openMail(); err != nil {
		return err
	}
	config, err := monit.WriteConfig(monit.Config{Base: m.cfg.Base, Port: m.cfg.Monit.Port, Cycle: m.cfg.Monit.Cycle})
	if err != nil {
		return err
	}
	restart := m.cfg.Monit.Restart
	if restart == nil {
		daemon, err := monit.NewDaemon(monit.DaemonConfig{Config: config, Program: m.cfg.Monit.Program, Logger: m.log})
		if err != nil {
			return err
		}
		m.service("monit", daemon.Run)
		restart = daemon.Restart
	}
	client, err := monit.NewClient(monit.ClientConfig{
		URL: fmt.Sprintf("http://127.0.0.1:%d", m.cfg.Monit.Port), User: user, Password: password, Logger: m.log,
	})
	if err != nil {
		return err
	}
	m.supervisor, err = monit.NewSupervisor(monit.SupervisorConfig{Base: m.cfg.Base, Client: client, Restart: restart, Logger: m.log})
	return err
}

// openMail has monit send its alerts here, with a password that is new each time (Ruby agent).
func (m *machine) openMail() error {
	if m.cfg.NoAlerts {
		return monit.RemoveAlertConfig(m.cfg.Base)
	}
	_, port, err := net.SplitHostPort(m.cfg.SMTP)
	if err != nil {
		return fmt.Errorf("address for mails: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("address for mails: %w", err)
	}
	const user = "vcap"
	password := monit.NewPassword()
	server, err := alert.NewSMTP(alert.SMTPConfig{
		Address: m.cfg.SMTP, User: user, Password: password, Logger: m.log,
		Take: func(ctx context.Context, mail []byte) { m.reporter().Mail(ctx, mail) },
	})
	if err != nil {
		return err
	}
	m.service("mail server", server.Run)
	return m.unlessFull(monit.WriteAlertConfig(monit.AlertConfig{Base: m.cfg.Base, Port: number, User: user, Password: password}))
}

// unlessFull passes over a file that did not fit on the disk: what is missing then is less than an agent that does not answer.
func (m *machine) unlessFull(err error) error {
	if !atomicfile.IsFull(err) {
		return err
	}
	m.log.Warn("agent.disk_full", "error", err)
	return nil
}

// settled runs a service once the supervisor, which begins at the same time, can be asked, or soon all the same: the first heartbeat
// is due within a second.
func (m *machine) settled(run func(context.Context) error) func(context.Context) error {
	const patience, pause = 800 * time.Millisecond, 10 * time.Millisecond
	return func(ctx context.Context) error {
		late, look := time.NewTimer(patience), time.NewTicker(pause)
		defer late.Stop()
		defer look.Stop()
		for !m.answers(ctx) {
			select {
			case <-look.C:
				continue
			case <-late.C:
				m.hurry = true
			case <-ctx.Done():
			}
			break
		}
		return run(ctx)
	}
}

// answers tells whether the supervisor can be asked. A client of monit would go on asking.
func (m *machine) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, brief)
	defer cancel()
	return m.supervisor.Status(ctx).Err == nil
}

// brief is how long a supervisor may take to answer when the first heartbeat is due.
const brief = 100 * time.Millisecond

// nobody supervises: jobs are installed, nothing is started, and all is said to be well.
type nobody struct{ files supervisor.Files }

func (n nobody) AddJob(file supervisor.JobFile) error { return n.files.Add(file) }
func (n nobody) RemoveJobs() error                    { return n.files.RemoveAll() }
func (nobody) Reload(context.Context) error           { return nil }
func (n nobody) Start(context.Context) error          { return n.files.SetStopped(false) }
func (n nobody) Stop(context.Context) error           { return n.files.SetStopped(true) }
func (n nobody) StopAndWait(context.Context) error    { return n.files.SetStopped(true) }
func (nobody) Unmonitor(context.Context) error        { return nil }

func (n nobody) Status(context.Context) supervisor.Status {
	stopped, err := n.files.Stopped()
	if err != nil {
		return supervisor.Status{State: messaging.JobUnknown, Err: err}
	}
	return supervisor.Status{State: supervisor.Overall(stopped, nil)}
}
