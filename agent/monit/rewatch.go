package monit

import (
	"context"
	"fmt"

	"github.com/deakit/deakit/agent/supervisor"
)

// rewatch has monit watch those again that it does not watch but that run, as a drain leaves them: monit of today stops nothing
// that it does not watch, and says that it has. Those that have ended stay as they are, or it would start them.
func (s *Supervisor) rewatch(ctx context.Context) error {
	services, err := s.group(ctx)
	if err != nil {
		return err
	}
	running, err := s.running()
	if err != nil {
		return err
	}
	again := map[string]bool{}
	for _, service := range services {
		if service.Monitor != NotMonitored || !running[service.Name] {
			continue
		}
		if err := s.cfg.Client.Do(ctx, Monitor, service.Name); err != nil {
			return err
		}
		again[service.Name] = true
	}
	if len(again) == 0 {
		return nil
	}
	// An order that comes before the last one is carried out takes its place.
	_, err = s.until(ctx, func(service Service) bool {
		return !again[service.Name] || service.Monitor != NotMonitored && service.PendingAction == 0
	})
	return err
}

// running has the names of the services whose processes run, as far as the files of jobs tell.
func (s *Supervisor) running() (map[string]bool, error) {
	files, err := s.files.All()
	if err != nil {
		return nil, err
	}
	running := map[string]bool{}
	for name, text := range files {
		processes, _, err := supervisor.ParseMonit(text)
		if err != nil { // monit has understood it, and may know more
			s.log.Warn("monit.file.not_understood", "file", name, "error", fmt.Errorf("its processes are stopped only while monit watches them: %w", err))
			continue
		}
		for _, p := range processes {
			running[p.Name] = p.Running()
		}
	}
	return running, nil
}
