package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/internal/egress"
	"github.com/deakit/deakit/messaging"
)

var errNoStartCommand = errors.New("neither the start message nor the droplet has a start command")

// A step of the start sequence. What it builds up is put on the undo stack of the life.
type step struct {
	name string
	do   func(context.Context) error
}

// start brings the app up, step by step. It ends early when the instance is told to stop.
func (l *life) start(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.stopping, func() { cancel(errors.New("the instance was told to stop")) })()

	var archive *droplet.Ref
	var command startCommand
	for _, s := range []step{
		{"droplet and container", func(ctx context.Context) error {
			return both(ctx,
				func(ctx context.Context) (err error) { archive, err = l.fetchDroplet(ctx); return err },
				l.createContainer)
		}},
		{"unpack", func(ctx context.Context) error { return l.unpack(ctx, archive) }},
		{"before_start", func(ctx context.Context) error { return l.hook(ctx, "before_start", l.cfg.Hooks.BeforeStart) }},
		{"start command", func(ctx context.Context) (err error) { command, err = l.startCommand(ctx); return err }},
		{"spawn", func(ctx context.Context) error { return l.spawn(ctx, command) }},
		{"health check", l.awaitHealth},
		{"running", func(context.Context) error { return l.running() }},
		{"after_start", func(ctx context.Context) error {
			ctx, done := l.whileAlive(ctx) // the end of the app is told at once
			defer done()
			return l.hook(ctx, "after_start", l.cfg.Hooks.AfterStart)
		}},
	} {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: %w", s.name, context.Cause(ctx))
		}
		if err := s.do(ctx); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// both runs two steps at once and awaits both, so that nothing is made after a failure was dealt with.
func both(ctx context.Context, a, b func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a(ctx) })
	group.Go(func() error { return b(ctx) })
	return group.Wait()
}

func (l *life) fetchDroplet(ctx context.Context) (*droplet.Ref, error) {
	if l.Message().SHA1 == "" {
		return nil, errors.New("the start message has no digest of the droplet (sha1)")
	}
	ref, err := l.parts.Droplets.Fetch(ctx, l.Message().SHA1, func(ctx context.Context, w io.Writer) error {
		if l.Message().ExecutableURI == "" {
			return errors.New("the droplet is not in the store, and the start message has no executableUri")
		}
		return l.parts.Download(ctx, l.Message().ExecutableURI, w)
	})
	if err != nil {
		return nil, err
	}
	l.undo.push("release droplet", func(context.Context) error { ref.Release(); return nil })
	return ref, nil
}

func (l *life) createContainer(ctx context.Context) error {
	m := l.Message()
	rootfs, err := l.cfg.RootFS(m.Stack)
	if err != nil {
		return err
	}
	rules, err := egress.Rules(m.EgressNetworkRules)
	if err != nil {
		return err
	}
	c, err := l.parts.Backend.Create(ctx, container.Spec{
		RootFS:     rootfs,
		BindMounts: l.cfg.BindMounts,
		Limits: container.Limits{
			MemoryBytes: m.Limits.Mem << 20, DiskBytes: m.Limits.Disk << 20,
			DiskInodes: l.cfg.DiskInodes, CPUShares: l.cfg.CPUShares(m.Limits.Mem), Bandwidth: l.cfg.Bandwidth,
		},
		Properties: l.properties(),
	})
	if err != nil {
		return err
	}
	l.hold(c)
	port, err := c.NetIn(ctx, 0, 0)
	if err != nil {
		return err
	}
	for _, rule := range rules {
		if err := c.NetOut(ctx, rule); err != nil {
			return err
		}
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	l.edit(func(s *Status) {
		s.Container = info
		s.HostPort, s.Port = port.HostPort, port.ContainerPort
	})
	return nil
}

// OwnerProperty is the property of a container that carries Config.Owner.
const OwnerProperty = "owner"

func (l *life) properties() map[string]string {
	p := map[string]string{"app": l.App(), "instance": l.Status().ID}
	if l.cfg.Owner != "" {
		p[OwnerProperty] = l.cfg.Owner
	}
	return p
}

// hold makes c the container of this life, to be destroyed with it. Its handle is known from now on, so that nobody takes
// it for an orphan.
func (l *life) hold(c container.Container) {
	l.container = c
	l.edit(func(s *Status) { s.Handle = c.Handle() })
	l.undo.push("destroy container", func(ctx context.Context) error {
		if err := c.Destroy(ctx); err != nil && !errors.Is(err, container.ErrNotFound) {
			return err
		}
		l.edit(func(s *Status) { s.Handle = "" })
		return nil // it is gone, which is all that is wanted
	})
}

func (l *life) unpack(ctx context.Context, ref *droplet.Ref) error {
	file, err := ref.Open()
	if err != nil {
		return err
	}
	defer file.Close()
	members, err := droplet.NewReader(file, droplet.Limits{MaxBytes: l.unpackLimit()})
	if err != nil {
		return err
	}
	defer members.Close()
	return l.container.StreamIn(ctx, container.AppHome, "", members)
}

// unpackLimit bounds what a droplet unpacks to by the disk that the instance may use, where that is told.
func (l *life) unpackLimit() int64 {
	if disk := l.message.Limits.Disk << 20; disk > 0 {
		return disk
	}
	return 0 // the default of the reader
}

// startCommand chooses the command: that of the start message, else that of the droplet. Where that is a script of the time
// before buildpacks, it is made ready to run.
func (l *life) startCommand(ctx context.Context) (startCommand, error) {
	app, err := l.toldCommand(ctx)
	if err != nil {
		return startCommand{}, err
	}
	startup, err := l.scriptsOf(ctx, app)
	if err != nil || startup == "" {
		return app, err
	}
	runtime, err := l.bind(ctx, startup)
	if err != nil {
		return startCommand{}, err
	}
	l.edit(func(s *Status) { s.Scripts = true })
	return startCommand{scripts: true, runtime: runtime}, nil
}

// toldCommand is what message or droplet tell. A droplet without staging_info.yml is one of the old kind and brings a script
// of its own.
func (l *life) toldCommand(ctx context.Context) (startCommand, error) {
	data, err := containerfs.ReadFile(ctx, l.container, path.Join(container.AppHome, droplet.InfoName), smallFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return startCommand{}, nil
	case err != nil:
		return startCommand{}, err
	}
	app := startCommand{command: l.Message().StartCommand}
	info, err := droplet.ParseInfo(data)
	switch {
	case err == nil:
		app.prefix = info.EntrypointPrefix
		app.command = cmp.Or(app.command, info.StartCommand)
	case app.command == "": // else the message has all that is needed
		return startCommand{}, err
	}
	if strings.TrimSpace(app.command) == "" {
		return startCommand{}, errNoStartCommand
	}
	return app, nil
}

func (l *life) spawn(ctx context.Context, command startCommand) error {
	m, status := l.Message(), l.Status()
	fds := uint64(m.Limits.FDs)
	env, script := systemEnv(l.Instance, status), ""
	if command.scripts {
		env = scriptsEnv(l.Instance, status, command.runtime.Name)
		script = scriptsStart(command.runtime.Env, m.Environment(), l.cfg.PostSetup, appPort(m, status))
	} else {
		script = startScript(m.Environment(), l.cfg.PostSetup, command)
	}
	spec := container.ProcessSpec{Path: "/bin/bash", Dir: container.AppHome, Env: env}
	if fds > 0 {
		spec.Rlimits.NoFile = &fds
	}
	if l.parts.Backend.Capabilities().Users {
		spec.Rlimits.NProc = &l.cfg.NProc
	}
	l.followLog(false)
	process, err := l.container.Run(ctx, spec, container.IO{Stdin: strings.NewReader(script)})
	if err != nil {
		return err
	}
	l.spawned(process)
	l.announce(func(s *Status) { s.ProcessID = process.ID() })
	return nil
}

// running marks the healthy instance; one that is being evacuated stays so.
func (l *life) running() error {
	err := l.transition(messaging.Running, nil)
	if err != nil && l.Status().State != messaging.Evacuating {
		return err
	}
	l.log.Info("droplet.healthy")
	return nil
}
