package stager

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet/instance"
)

// Tasks returns how many tasks are at work.
func (s *Stager) Tasks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks)
}

// Records describes the tasks at work for the snapshot of a DEA, in the order of their ids. They contain credentials.
func (s *Stager) Records() []instance.StagingRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	tasks := make([]*task, 0, len(s.tasks))
	for _, t := range s.tasks {
		tasks = append(tasks, t)
	}
	slices.SortFunc(tasks, func(a, b *task) int { return cmp.Compare(a.id, b.id) })
	records := make([]instance.StagingRecord, 0, len(tasks))
	for _, t := range tasks {
		message, err := json.Marshal(t.request)
		if err != nil {
			t.log.Error("staging.task.record.failed", "error", err)
			continue
		}
		record := instance.StagingRecord{StagingMessage: message, SyslogDrainURLs: t.request.Properties.Services.DrainURLs()}
		if t.path != "" {
			record.WardenContainerPath = &t.path
		}
		records = append(records, record)
	}
	return records
}

// containerMade makes known where the container of a task is.
func (s *Stager) containerMade(t *task, path string) {
	s.mu.Lock()
	t.path = path
	s.mu.Unlock()
	s.changed()
}

// ownerProperty of a container carries Config.Owner.
const ownerProperty = instance.OwnerProperty

// removeLeftContainers destroys what an earlier process of the owner left: its tasks ended with it.
func removeLeftContainers(ctx context.Context, backend container.Backend, owner string, log *slog.Logger) {
	handles, err := backend.List(ctx)
	if err != nil {
		log.Warn("stager.containers.list.failed", "error", err)
	}
	for _, handle := range handles {
		if err := removeIfLeft(ctx, backend, handle, owner, log); err != nil && !errors.Is(err, container.ErrNotFound) {
			log.Warn("stager.container.remove.failed", "handle", handle, "error", err)
		}
	}
}

func removeIfLeft(ctx context.Context, backend container.Backend, handle, owner string, log *slog.Logger) error {
	c, err := backend.Lookup(ctx, handle)
	if err != nil {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil || info.Properties[ownerProperty] != owner {
		return err
	}
	log.Info("stager.container.remove", "handle", handle)
	return c.Destroy(ctx)
}
