package blobstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/program"
)

// ExternalConfig says what program serves a provider.
type ExternalConfig struct {
	Provider  string         // X of bosh-blobstore-X
	Options   map[string]any // what the program finds in its configuration file
	ConfigDir string         // of that file, blobstore-X.json; made if it is not there. An agent has base/bosh/etc.
	TempDir   string         // where files for the program stand; default os.TempDir()
}

// External asks a program bosh-blobstore-X for blobs and gives it blobs, as files (bosh-utils):
//
//	bosh-blobstore-X -c CONFIG get ID FILE
//	bosh-blobstore-X -c CONFIG put FILE ID
//
// Such a program cannot say that a blob is missing, and it cannot delete.
type External struct {
	program, config, temp string
}

// NewExternal looks for the program in PATH and writes its configuration, with mode 0600. It starts nothing.
func NewExternal(cfg ExternalConfig) (*External, error) {
	program, err := externalProgram(cfg.Provider)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(program)
	options, err := json.Marshal(cfg.Options)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	if err := os.MkdirAll(cfg.ConfigDir, 0o755); err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	e := &External{program, filepath.Join(cfg.ConfigDir, "blobstore-"+cfg.Provider+".json"), cfg.TempDir}
	if err := atomicfile.WriteFile(e.config, options, 0o600); err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	return e, nil
}

// externalProgram is the path of the program of a provider.
func externalProgram(provider string) (string, error) {
	if err := CheckID(provider); err != nil {
		return "", fmt.Errorf("blobstore: invalid provider %.80q", provider)
	}
	name := "bosh-blobstore-" + provider
	program, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("executable %s not found in PATH: %w", name, err)
	}
	return program, nil
}

// Get lets the program write a temporary file.
func (e *External) Get(ctx context.Context, id string, w io.Writer) error {
	if err := CheckID(id); err != nil {
		return err
	}
	f, err := newFile(e.temp)
	if err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	defer f.Close()
	if err := e.run(ctx, "get", id, f.Name()); err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	written, err := os.Open(f.Name()) // by name: the program may have replaced the file
	if err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	defer written.Close()
	if _, err := io.Copy(w, reader{ctx, written}); err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	return nil
}

// Put gives the program a copy.
func (e *External) Put(ctx context.Context, id string, r io.ReadSeeker) error {
	if err := CheckID(id); err != nil {
		return err
	}
	if err := e.put(ctx, id, r); err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	return nil
}

func (e *External) put(ctx context.Context, id string, r io.ReadSeeker) error {
	f, err := newFile(e.temp)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(f, reader{ctx, r}); err != nil {
		return err
	}
	return e.run(ctx, "put", f.Name(), id)
}

// Delete is not supported.
func (e *External) Delete(_ context.Context, id string) error {
	return cmp.Or(CheckID(id), fmt.Errorf("delete blob %s: %w", id, errors.ErrUnsupported))
}

// Exists is not supported.
func (e *External) Exists(_ context.Context, id string) (bool, error) {
	return false, cmp.Or(CheckID(id), fmt.Errorf("find blob %s: %w", id, errors.ErrUnsupported))
}

// run runs the program, whose output says why it failed.
func (e *External) run(ctx context.Context, args ...string) error {
	_, err := program.Run(ctx, e.program, append([]string{"-c", e.config}, args...)...)
	return err
}
