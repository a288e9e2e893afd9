package methods

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/certs"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/task"
	"github.com/deakit/deakit/agent/transport"
)

func (m *Machine) settingsMethods() []action.Method {
	return []action.Method{{
		Name: "update_settings", Async: true, Secret: true,
		Do: m.updateSettings, Resume: m.resumeUpdate, BeginsItself: true,
	}}
}

// updateSettings first keeps what the director says, at once, so that a process which dies then has it when it is back. With
// another bus or blob store the process ends, and the task has its outcome from resumeUpdate. What is refused is not kept: no
// process could start with it, and none would be there to take a better one.
func (m *Machine) updateSettings(ctx context.Context, next settings.Update) (string, error) {
	restart, err := m.keep(ctx, next)
	if err != nil {
		return "", err
	}
	if restart {
		return "", m.leave(ctx)
	}
	return updated, m.establish(ctx)
}

const updated = "ok"

// checkUpdate refuses what the next process could not begin with: nobody could tell it anything better. What is kept stays as it is
// meanwhile: of two that are right by themselves, both may be wrong.
func (m *Machine) checkUpdate(ctx context.Context, next settings.Update) error {
	if err := certs.Check(next.TrustedCerts); err != nil {
		return err
	}
	kept, err := m.Loader.Update()
	if err != nil {
		return err
	}
	merged, _ := kept.Merge(next)
	if err := checkChange(m.Settings.Effective(kept), m.Settings.Effective(merged)); err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	if m.Disks != nil {
		return m.Disks.CheckAssociations(ctx, next.DiskAssociations)
	}
	return nil
}

func checkChange(before, after settings.Effective) error {
	if !slices.Equal(before.MbusURLs, after.MbusURLs) || before.MbusCert != after.MbusCert {
		var certificates *transport.Certificates
		if c := after.MbusCert; c.CA != "" || c.Certificate != "" {
			certificates = &transport.Certificates{CA: c.CA, Certificate: c.Certificate, PrivateKey: c.PrivateKey}
		}
		if err := transport.CheckMbus(after.MbusURLs, certificates); err != nil {
			return fmt.Errorf("the new message bus cannot be used: %w", err)
		}
	}
	store := after.Blobstore
	if store.Provider == "nats" && after.Listens() {
		return errors.New(`the blobstore provider "nats" needs a bus of NATS`)
	}
	if store.Provider != "" && !reflect.DeepEqual(before.Blobstore, store) {
		if err := blobstore.Check(store.Provider, store.Options); err != nil {
			return fmt.Errorf("the new blob store cannot be used: %w", err)
		}
	}
	return nil
}

// keep checks and stores an update, and only then notes that its task has begun: whoever is told "ok" by the next process relies on it. As it
// does so alone, a process that repeats the task puts nothing back that came later.
func (m *Machine) keep(ctx context.Context, next settings.Update) (restart bool, err error) {
	leave, err := m.update.take(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	if err := m.checkUpdate(ctx, next); err != nil {
		return false, err
	}
	if restart, err = m.Loader.Apply(next); err != nil {
		return false, err
	}
	if err := task.Begun(ctx); err != nil {
		m.log.Warn("agent.settings.task_not_noted", "error", err) // it is repeated, and comes to the same
	}
	return restart, nil
}

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
