package compile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/deakit/deakit/agent/internal/process"
	"github.com/deakit/deakit/internal/rmtree"
)

const (
	scriptFile = "packaging"
	logDir     = "data/sys/log/compilation"
	scriptPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// runScript runs the script of the package, if it has one.
func (w *work) runScript(ctx context.Context) error {
	info, err := w.store.Root().Lstat(path.Join(w.dir(), scriptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", scriptFile)
	}
	if err != nil {
		return err
	}
	stdout, stderr, err := w.logs()
	if err != nil {
		return fmt.Errorf("Running packaging script: %w", err)
	}
	defer stdout.Close()
	defer stderr.Close()
	env, err := w.env()
	if err != nil {
		return fmt.Errorf("Running packaging script: %w", err)
	}
	status, err := process.Run(ctx, process.Command{
		Path:   "bash",
		Args:   []string{"-x", scriptFile},
		Dir:    filepath.Join(w.cfg.Base, w.dir()),
		Env:    env,
		Stdout: stdout,
		Stderr: stderr,
		Grace:  w.cfg.Grace,
		Sweep:  true,

		Register: process.NewRegister(w.cfg.Base, w.log),
	})
	// Whoever goes on would write to what is packed, or to what is compiled next.
	if e := process.KillMarked(w.mark()); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("Running packaging script: %w", err)
	}
	if status == 0 {
		return nil
	}
	failed := &ScriptError{Package: w.name, Status: status}
	if failed.Stdout, err = excerpt(stdout); err != nil {
		return err
	}
	if failed.Stderr, err = excerpt(stderr); err != nil {
		return err
	}
	return failed
}

// mark is in the environment of whatever the script starts, and was in that of one whose agent was killed.
func (w *work) mark() string {
	return "BOSH_COMPILE_TARGET=" + filepath.Join(w.cfg.Base, w.dir())
}

func (w *work) env() ([]string, error) {
	const tmp = "data/tmp"
	if err := w.store.MkdirAll(tmp, 0o770); err != nil {
		return nil, err
	}
	env := process.Environ(scriptPath, filepath.Join(w.cfg.Base, tmp), w.cfg.Env...)
	return append(env,
		w.mark(),
		"BOSH_INSTALL_TARGET="+filepath.Join(w.cfg.Base, w.target().Link()),
		"BOSH_PACKAGE_NAME="+w.name,
		"BOSH_PACKAGE_VERSION="+w.version,
	), nil
}

// logs makes the files for the output, in place of those of the last script.
func (w *work) logs() (stdout, stderr *os.File, err error) {
	if err := w.store.MakeSys(); err != nil {
		return nil, nil, err
	}
	if err := rmtree.In(w.store.Root(), logDir); err != nil {
		return nil, nil, err
	}
	if err := w.store.MkdirAll(logDir, 0o750); err != nil {
		return nil, nil, err
	}
	if stdout, err = w.open(path.Join(logDir, "packaging.stdout.log")); err != nil {
		return nil, nil, err
	}
	if stderr, err = w.open(path.Join(logDir, "packaging.stderr.log")); err != nil {
		stdout.Close()
		return nil, nil, err
	}
	return stdout, stderr, nil
}
