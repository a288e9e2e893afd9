package methods

import (
	"context"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/certs"
	"github.com/deakit/deakit/agent/settings"
)

func (m *Machine) settingsMethods() []action.Method {
	return []action.Method{{
		Name: "update_settings", Async: true, Secret: true,
		Do: m.updateSettings, Resume: m.resumeUpdate,
	}}
}

// updateSettings first keeps what the director says, at once, so that a process which dies then has it when it is back. With
// another bus or blob store the process ends, and the task has its outcome from resumeUpdate. What is refused is not kept: no
// process could start with it, and none would be there to take a better one.
func (m *Machine) updateSettings(ctx context.Context, next settings.Update) (string, error) {
	if err := m.checkUpdate(ctx, next); err != nil {
		return "", err
	}
	restart, err := m.Loader.Apply(next)
	if err != nil {
		return "", err
	}
	if restart {
		return "", m.leave(ctx)
	}
	return updated, m.establish(ctx)
}

func (m *Machine) checkUpdate(ctx context.Context, next settings.Update) error {
	if err := certs.Check(next.TrustedCerts); err != nil {
		return err
	}
	if m.cfg.CheckUpdate != nil {
		if err := m.cfg.CheckUpdate(next); err != nil {
			return err
		}
	}
	if m.Disks != nil {
		return m.Disks.CheckAssociations(ctx, next.DiskAssociations)
	}
	return nil
}

const updated = "ok"

func (m *Machine) resumeUpdate(ctx context.Context) (any, error) { return updated, m.establish(ctx) }

// establish makes the machine what the kept update says: the newest one, whoever of several comes last.
func (m *Machine) establish(ctx context.Context) error {
	leave, err := m.update.take(ctx)
	if err != nil {
		return err
	}
	defer leave()
	kept, err := m.Loader.Update()
	if err != nil {
		return err
	}
	if m.Certs != nil {
		if err := m.Certs.Set(ctx, kept.TrustedCerts); err != nil {
			return err
		}
	}
	if m.Disks != nil {
		return m.Disks.Associate(ctx, kept.DiskAssociations)
	}
	return nil
}

// leave wants the process to end, and waits for that: an outcome before would be told, and the task forgotten.
func (m *Machine) leave(ctx context.Context) error {
	m.endProcess(ErrRestart)
	<-ctx.Done()
	return context.Cause(ctx)
}
