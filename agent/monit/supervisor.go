package monit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/messaging"
)

// SupervisorConfig says which services are the agent's.
type SupervisorConfig struct {
	Base   string  // base directory, "/var/vcap"; required
	Client *Client // required
	Group  string  // of the agent's services; default "vcap"

	// Restart ends monit and has it started again: [Daemon.Restart], or what a service manager offers. Required. A mere "monit
	// reload" acts only at the next cycle.
	Restart func(context.Context) error

	// Reload restarts monit up to Rounds times, and looks Checks times, a Check apart, whether it is another one; defaults 3, 10
	// and 1 s (Go agent).
	Rounds, Checks int
	Check          time.Duration

	// StopAndWait looks every Poll, for StopTimeout at most; defaults 500 ms and 5 min (Go agent).
	Poll, StopTimeout time.Duration

	Logger *slog.Logger // nil discards
}

// Supervisor is a supervisor.JobSupervisor by monit.
type Supervisor struct {
	cfg   SupervisorConfig
	files supervisor.Files
	log   *slog.Logger
}

var _ supervisor.JobSupervisor = (*Supervisor)(nil)

// NewSupervisor checks the configuration. It starts nothing.
func NewSupervisor(cfg SupervisorConfig) (*Supervisor, error) {
	if cfg.Base == "" || cfg.Client == nil || cfg.Restart == nil {
		return nil, errors.New("monit: SupervisorConfig needs Base, Client and Restart")
	}
	if cfg.Group == "" {
		cfg.Group = "vcap"
	}
	if cfg.Rounds <= 0 {
		cfg.Rounds = 3
	}
	if cfg.Checks <= 0 {
		cfg.Checks = 10
	}
	fill := func(field *time.Duration, value time.Duration) {
		if *field <= 0 {
			*field = value
		}
	}
	fill(&cfg.Check, time.Second)
	fill(&cfg.Poll, 500*time.Millisecond)
	fill(&cfg.StopTimeout, 5*time.Minute)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Supervisor{cfg: cfg, files: supervisor.Files(cfg.Base), log: cfg.Logger}, nil
}

// AddJob implements supervisor.JobSupervisor.
func (s *Supervisor) AddJob(file supervisor.JobFile) error { return s.files.Add(file) }

// RemoveJobs implements supervisor.JobSupervisor.
func (s *Supervisor) RemoveJobs() error { return s.files.RemoveAll() }

// Reload implements supervisor.JobSupervisor: it restarts monit, and returns when another one answers.
func (s *Supervisor) Reload(ctx context.Context) error {
	// A monit that does not answer now is another one as soon as it does.
	before := ""
	if status, err := s.cfg.Client.status(ctx); err == nil {
		before = status.Incarnation
	}
	after := before
	// The incarnation counts seconds: a monit that starts within the second in which the old one did is not told from it, and
	// restarted once more.
	for range s.cfg.Rounds {
		if err := s.cfg.Restart(ctx); err != nil {
			return fmt.Errorf("Failed to reload monit: %w", err)
		}
		for range s.cfg.Checks {
			status, err := s.cfg.Client.status(ctx)
			if err == nil && status.Incarnation != before { // compared for difference: clocks are set back, too
				return nil
			}
			if err == nil {
				after = status.Incarnation
			} else if ctx.Err() == nil {
				s.log.Debug("monit.reload.waits", "error", err)
			}
			if err := sleep(ctx, s.cfg.Check); err != nil {
				return fmt.Errorf("Failed to reload monit: %w", err)
			}
		}
	}
	return fmt.Errorf("Failed to reload monit: before=%s after=%s", before, after)
}

// group asks for the agent's services.
func (s *Supervisor) group(ctx context.Context) ([]Service, error) {
	status, err := s.cfg.Client.Status(ctx)
	if err != nil {
		return nil, err
	}
	return status.Group(s.cfg.Group), nil
}

// all does the same with each service, and returns those with which it failed. It goes on after a failure.
func (s *Supervisor) all(ctx context.Context, action Action) (failed []string, err error) {
	services, err := s.group(ctx)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, service := range services {
		if err := s.cfg.Client.Do(ctx, action, service.Name); err != nil {
			failed, problems = append(failed, service.Name), append(problems, err)
		}
	}
	return failed, errors.Join(problems...)
}

// Start implements supervisor.JobSupervisor.
func (s *Supervisor) Start(ctx context.Context) error {
	if _, err := s.all(ctx, Start); err != nil {
		return err
	}
	if err := s.files.SetStopped(false); err != nil {
		return err
	}
	return s.health(ctx)
}

// Stop implements supervisor.JobSupervisor.
func (s *Supervisor) Stop(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, s.cfg.StopTimeout)
	defer cancel()
	if err := s.rewatch(limited); err != nil {
		return err
	}
	if _, err := s.all(ctx, Stop); err != nil {
		return err
	}
	if err := s.files.SetStopped(true); err != nil {
		return err
	}
	return s.health(ctx)
}

// StopAndWait implements supervisor.JobSupervisor: it waits until nothing is pending, stops, and waits until monit watches nothing.
func (s *Supervisor) StopAndWait(ctx context.Context) error {
	timeout := errors.New("the time for stopping is over")
	limited, cancel := context.WithTimeoutCause(ctx, s.cfg.StopTimeout, timeout)
	defer cancel()
	late, err := s.until(limited, func(service Service) bool { return service.PendingAction == 0 })
	if err != nil {
		return s.late(err, timeout, late, "to no longer be pending")
	}
	if err := s.rewatch(limited); err != nil {
		return s.late(err, timeout, nil, "to be watched again")
	}
	if late, err = s.all(limited, Stop); err != nil {
		return s.late(err, timeout, late, "to stop")
	}
	if err := s.files.SetStopped(true); err != nil {
		return err
	}
	late, err = s.until(limited, func(service Service) bool {
		return service.Monitor == NotMonitored && service.PendingAction == 0
	})
	if err != nil {
		return s.late(err, timeout, late, "to stop")
	}
	return s.health(ctx)
}

// late gives the end of the time the words that directors look for.
func (s *Supervisor) late(err, timeout error, services []string, what string) error {
	if !errors.Is(err, timeout) {
		return err
	}
	limit := s.cfg.StopTimeout.String()
	if s.cfg.StopTimeout%time.Minute == 0 {
		limit = fmt.Sprintf("%d minutes", s.cfg.StopTimeout/time.Minute)
	}
	return fmt.Errorf("Timed out waiting for services '%s' %s after %s", strings.Join(services, ", "), what, limit)
}

// until asks until all services are done, and returns those that are not when it gives up: at the end of ctx, or when one has failed.
func (s *Supervisor) until(ctx context.Context, done func(Service) bool) (left []string, err error) {
	for {
		services, err := s.group(ctx)
		if err != nil {
			return left, err
		}
		left = nil
		var failed []string
		for _, service := range services {
			if !done(service) {
				left = append(left, service.Name)
			}
			if service.Failed() {
				failed = append(failed, service.Name)
			}
		}
		switch {
		case len(failed) > 0:
			return left, fmt.Errorf("Stopping services '%v' errored", failed)
		case len(left) == 0:
			return nil, nil
		}
		if err := sleep(ctx, s.cfg.Poll); err != nil {
			return left, err
		}
	}
}

// Unmonitor implements supervisor.JobSupervisor.
func (s *Supervisor) Unmonitor(ctx context.Context) error {
	if _, err := s.all(ctx, Unmonitor); err != nil {
		return err
	}
	return s.health(ctx)
}

// Status implements supervisor.JobSupervisor. While monit does not answer it goes on asking, so give it a context that ends.
func (s *Supervisor) Status(ctx context.Context) supervisor.Status {
	unknown := func(err error) supervisor.Status {
		return supervisor.Status{State: messaging.JobUnknown, Err: fmt.Errorf("Getting processes status: %w", err)}
	}
	services, err := s.group(ctx)
	if err != nil {
		return unknown(err)
	}
	stopped, err := s.files.Stopped()
	if err != nil {
		return unknown(err)
	}
	var processes []messaging.AgentProcess
	for _, service := range services {
		processes = append(processes, service.Process())
	}
	slices.SortStableFunc(processes, func(a, b messaging.AgentProcess) int { return strings.Compare(a.Name, b.Name) })
	return supervisor.Status{State: supervisor.Overall(stopped, processes), Processes: processes}
}

// health tells jobs how the machine is now.
func (s *Supervisor) health(ctx context.Context) error {
	return s.files.WriteHealth(s.Status(ctx).State)
}
