package certs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/program"
)

const (
	dir    = "usr/local/share/ca-certificates" // of Debian and its like
	prefix = "bosh-trusted-cert-"
	suffix = ".crt"
)

// ErrPEM: not a list of certificates.
var ErrPEM = errors.New("trusted certificates must be PEM blocks of type CERTIFICATE, one behind the other")

// maxBytes and maxCerts bound what is kept.
const (
	maxBytes = 4 << 20
	maxCerts = 1000
)

// Config says whose certificates are kept.
type Config struct {
	Root string // of the system, "/"; required. All files are below it

	// Update makes the programs of the system look at the files. Nil: update-ca-certificates -f, for a minute at most, where Root
	// is "/"; elsewhere nothing.
	Update func(context.Context) error

	Tries int           // of Update; default 3
	Delay time.Duration // between them; default 1 s; negative for none
}

// A Store keeps the certificates of one machine. Its methods may be called from several goroutines at once.
type Store struct {
	cfg Config
	mu  sync.Mutex
}

// New checks the configuration. It touches nothing.
func New(cfg Config) (*Store, error) {
	if cfg.Root == "" {
		return nil, errors.New("certs: a Config needs Root")
	}
	if cfg.Update == nil {
		cfg.Update = update
		if filepath.Clean(cfg.Root) != "/" {
			cfg.Update = func(context.Context) error { return nil }
		}
	}
	cfg.Tries, cfg.Delay = cmp.Or(max(cfg.Tries, 0), 3), cmp.Or(cfg.Delay, time.Second)
	return &Store{cfg: cfg}, nil
}

func update(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := program.Run(ctx, "update-ca-certificates", "-f")
	return err
}

// Set makes the certificates in a text of PEM blocks the only ones that were brought here; an empty text removes all. One that
// cannot be read is an ErrPEM, and then nothing changes.
func (s *Store) Set(ctx context.Context, text string) error {
	certificates, err := split(text)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(certificates); err != nil {
		return fmt.Errorf("write trusted certificates: %w", err)
	}
	if err := s.update(ctx); err != nil {
		return fmt.Errorf("update trusted certificates: %w", err)
	}
	return nil
}

// Check returns an ErrPEM unless the text is fit for Set.
func Check(text string) error {
	_, err := split(text)
	return err
}

// split returns the certificates in PEM form.
func split(text string) (all [][]byte, err error) {
	if len(text) > maxBytes {
		return nil, fmt.Errorf("%w, %d bytes at most", ErrPEM, maxBytes)
	}
	for rest := []byte(text); bytes.Contains(rest, []byte("-----BEGIN")); { // what stands between them is for people
		block, left := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(all) == maxCerts {
			return nil, fmt.Errorf("%w: number %d is none, or one too many", ErrPEM, len(all)+1)
		}
		all, rest = append(all, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})), left
	}
	if len(all) == 0 && strings.TrimSpace(text) != "" {
		return nil, ErrPEM
	}
	return all, nil
}

// write replaces the files, which are numbered from 1 (bosh-agent), and removes those beyond.
func (s *Store) write(certificates [][]byte) error {
	root, err := os.OpenRoot(s.cfg.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for i, certificate := range certificates {
		name := fmt.Sprintf("%s%d%s", prefix, i+1, suffix)
		wanted[name] = true
		if err := atomicfile.WriteFileIn(root, path.Join(dir, name), certificate, 0o644); err != nil {
			return err
		}
	}
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		ours := strings.HasPrefix(entry.Name(), prefix) && strings.HasSuffix(entry.Name(), suffix)
		if !ours || wanted[entry.Name()] {
			continue
		}
		if err := root.Remove(path.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// update runs Update until it succeeds, a few times.
func (s *Store) update(ctx context.Context) error {
	for try := 1; ; try++ {
		err := s.cfg.Update(ctx)
		if err == nil || try >= s.cfg.Tries || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(max(s.cfg.Delay, 0))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
