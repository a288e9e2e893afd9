package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

// launch starts the program, and gives the process its number.
func (p *process) launch(spec container.ProcessSpec, attr *os.ProcAttr) error {
	path, err := findProgram(spec.Path, attr.Env)
	if err != nil {
		return err
	}
	if p.id, p.life, err = p.box.makeProcessFile(); err != nil {
		return err
	}
	argv := append([]string{spec.Path}, spec.Args...)
	limits := listRlimits(spec.Rlimits)
	if p.box.b.supervisor != nil {
		err = p.launchSupervised(path, argv, attr, limits)
	} else {
		err = p.launchAlone(path, argv, attr, limits)
	}
	if err == nil {
		return nil
	}
	p.life.Close()
	return errors.Join(err, p.box.b.depot.Remove(p.box.processFile(p.id)))
}

func (p *process) launchSupervised(path string, argv []string, attr *os.ProcAttr, limits []rlimit) (err error) {
	prepare := func(keeper *os.Process, pid int) error {
		held, err := statOf(pid)
		if err != nil {
			return err
		}
		its, err := statOf(keeper.Pid)
		if err != nil {
			return err
		}
		p.self, p.keeper = held.identity(), its.identity()
		if err := setRlimits(pid, limits); err != nil {
			return err
		}
		return p.noteBirth()
	}
	p.child, err = p.box.b.supervisor.start(path, argv, attr, p.life, p.box.portLocks(), prepare)
	return err
}

// launchAlone starts the process as our own child: should we be killed, its exit status is lost.
func (p *process) launchAlone(path string, argv []string, attr *os.ProcAttr, limits []rlimit) (err error) {
	if len(limits) > 0 {
		p.child, err = startLimited(path, argv, attr, limits)
	} else {
		p.child, err = os.StartProcess(path, argv, attr)
	}
	if err != nil {
		return err
	}
	started, err := statOf(p.child.Pid)
	if err == nil {
		p.self = started.identity()
		err = p.noteBirth()
	}
	if err != nil {
		_ = p.child.Kill()
		_, _ = p.child.Wait()
	}
	return err
}

func (p *process) noteBirth() error {
	born := birth{
		Magic: lifeMagic, Boot: p.box.b.boot,
		PID: uint64(p.self.pid), Start: p.self.start,
		KeeperPID: uint64(p.keeper.pid), KeeperStart: p.keeper.start,
	}
	if err := note(p.life, born); err != nil {
		return fmt.Errorf("write the process file: %w", err)
	}
	return nil
}

// portLocks returns what supervisors hold so that the ports stay reserved. The gate is held: none is released meanwhile.
func (c *box) portLocks() []*os.File {
	c.mu.Lock()
	defer c.mu.Unlock()
	var locks []*os.File
	for _, p := range c.ports {
		if lock := p.Lock(); lock != nil {
			locks = append(locks, lock)
		}
	}
	return locks
}

// findProgram resolves a bare name in the PATH of env. Relative directories in it are passed over: they would mean a
// directory that the container's processes write to.
func findProgram(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // the kernel resolves a relative one from the working directory
	}
	search := ""
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			search = value
		}
	}
	for _, dir := range filepath.SplitList(search) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("program not found in PATH %q: %w", search, os.ErrNotExist)
}
