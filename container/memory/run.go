package memory

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/deakit/deakit/container"
)

// Run implements container.Container: it starts the program that Options has for the path.
func (c *Container) Run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (container.Process, error) {
	p := &Process{
		c: c, traps: map[syscall.Signal]chan syscall.Signal{}, exited: make(chan struct{}), done: make(chan struct{}),
	}
	err := c.doActive(ctx, Run, func() error {
		program, err := c.prepare(&spec)
		if err != nil {
			return err
		}
		p.ProcessSpec, p.settled = spec, time.Now()
		p.connect(pio)
		c.procs = append(c.procs, p)
		p.id = uint32(len(c.procs))
		var life context.Context
		life, p.cancel = context.WithCancelCause(context.Background())
		go p.live(life, program)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// prepare checks a spec, completes it for the eyes of the program, and finds that.
func (c *Container) prepare(spec *container.ProcessSpec) (Program, error) {
	env, err := environment(slices.Concat(c.spec.Env, spec.Env))
	if err != nil {
		return nil, err
	}
	spec.User, spec.Dir = cmp.Or(spec.User, container.AppUser), cmp.Or(spec.Dir, container.AppHome)
	base := []string{"HOME=" + container.AppHome, "USER=" + spec.User, "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=en_US.UTF-8"}
	spec.Env, _ = environment(append(base, env...)) // checked above
	if !c.files.isDir(spec.Dir) {
		return nil, fmt.Errorf("working directory %q: %w", spec.Dir, fs.ErrNotExist)
	}
	if spec.Path == "" || strings.ContainsRune(spec.Path, 0) {
		return nil, fmt.Errorf("program %q: %w", spec.Path, container.ErrInvalid)
	}
	name := spec.Path
	if strings.Contains(name, "/") && !path.IsAbs(name) {
		name = path.Join(spec.Dir, name)
	}
	for _, program := range []Program{c.b.opts.Programs[name], c.b.opts.Programs[path.Base(name)], c.b.opts.Default} {
		if program != nil {
			return program, nil
		}
	}
	return nil, fmt.Errorf("program %q, which Options.Programs does not have: %w", spec.Path, fs.ErrNotExist)
}

// environment checks entries, and returns them with later ones in place of earlier ones.
func environment(entries []string) ([]string, error) {
	var env []string
	at := map[string]int{}
	for n, entry := range entries {
		name, _, found := strings.Cut(entry, "=")
		if !found || name == "" || strings.ContainsRune(entry, 0) {
			return nil, fmt.Errorf("entry %d of the environment is not of the form NAME=value: %w", n, container.ErrInvalid)
		}
		if i, known := at[name]; known {
			env[i] = entry
			continue
		}
		at[name] = len(env)
		env = append(env, entry)
	}
	return env, nil
}

// Attach implements container.Container. A stream that Run discarded stays so.
func (c *Container) Attach(ctx context.Context, id uint32, pio container.IO) (container.Process, error) {
	var p *Process
	err := c.do(ctx, Attach, func() error {
		if pio.Stdin != nil {
			return fmt.Errorf("process %d with an input: %w", id, container.ErrUnsupported)
		}
		if id == 0 || uint64(id) > uint64(len(c.procs)) {
			return fmt.Errorf("process %d: %w", id, container.ErrNotFound)
		}
		p = c.procs[id-1]
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.attach(pio)
	return p, nil
}
