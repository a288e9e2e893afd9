package compile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/internal/bundle"
	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/internal/tarball"
)

// Blobs is where sources come from and compiled packages go.
type Blobs interface {
	// Get fetches a blob and checks its digest. The caller closes it. It is called from several goroutines at once.
	Get(context.Context, spec.Source) (io.ReadCloser, error)
	// Put stores a blob under a new id and returns its SHA-1.
	Put(context.Context, io.ReadSeeker) (id string, d digest.Digest, err error)
	// PutSigned stores a blob by a signed URL and returns its SHA-1 and SHA-512.
	PutSigned(ctx context.Context, url string, headers map[string]string, r io.ReadSeeker) (digest.Digest, error)
}

// An Owner is a user and a group by number.
type Owner struct{ UID, GID int }

// Config says where and with what a [Compiler] compiles.
type Config struct {
	Base  string // base directory; required
	Blobs Blobs  // required

	Env      []string // KEY=value, for scripts, beside PATH, TMPDIR and HOME, which it may change
	Parallel int      // dependencies that are fetched and unpacked at a time; default 5
	Owner    *Owner   // of what is installed; nil: the user of this process

	// MaxUsed is the percentage of the file system from which on nothing is compiled; default 90 (bosh_agent). Negative: never.
	MaxUsed int

	MaxBytes   int64         // of one archive, unpacked; default 4 GiB
	MaxMembers int           // of one archive; default 500,000
	Grace      time.Duration // between TERM and KILL for a script whose context has ended; default 10 s

	Logger *slog.Logger // nil discards
}

const (
	defaultParallel = 5
	defaultMaxUsed  = 90
	compileDir      = "data/compile"
)

// A Compiler compiles packages. Its methods may be called from several goroutines at once; they take turns, also with
// installations into the same base directory.
type Compiler struct {
	cfg Config
	log *slog.Logger
}

// New checks a configuration. It does nothing yet.
func New(cfg Config) (*Compiler, error) {
	if cfg.Base == "" || cfg.Blobs == nil {
		return nil, errors.New("compile: a Config needs Base and Blobs")
	}
	base, err := filepath.Abs(cfg.Base) // scripts get to know it
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	cfg.Base = base
	if cfg.Parallel < 1 {
		cfg.Parallel = defaultParallel
	}
	cfg.MaxUsed = cmp.Or(cfg.MaxUsed, defaultMaxUsed)
	return &Compiler{cfg, cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))}, nil
}

// Compile is compile_package. A script that fails is a [*ScriptError]. When ctx ends, so does the script with all that it
// has started, and the cause of ctx is in the error.
func (c *Compiler) Compile(ctx context.Context, blobID, sha1, name string, version Version, deps Dependencies) (Result, error) {
	j, err := newJob(name, version, spec.Source{BlobID: blobID}, sha1, deps)
	if err != nil {
		return Result{}, fmt.Errorf("Compiling package %.80s: %w", name, err)
	}
	return c.compile(ctx, j, func(f io.ReadSeeker) (Compiled, error) {
		id, d, err := c.cfg.Blobs.Put(ctx, f)
		return Compiled{BlobID: id, SHA1: d.String()}, err
	})
}

// CompileSigned is compile_package_with_signed_url, and else as Compile.
func (c *Compiler) CompileSigned(ctx context.Context, r SignedRequest) (Result, error) {
	j, err := newJob(r.Name, r.Version, spec.Source{URL: r.GetURL, Headers: r.Headers}, r.Digest, r.Deps)
	if err == nil && r.PutURL == "" {
		err = errors.New("there is no upload_signed_url")
	}
	if err != nil {
		return Result{}, fmt.Errorf("Compiling package %.80s: %w", r.Name, err)
	}
	return c.compile(ctx, j, func(f io.ReadSeeker) (Compiled, error) {
		d, err := c.cfg.Blobs.PutSigned(ctx, r.PutURL, r.Headers, f)
		return Compiled{SHA1: d.String()}, err
	})
}

// compile does one job when nobody else changes the packages.
func (c *Compiler) compile(ctx context.Context, j job, put func(io.ReadSeeker) (Compiled, error)) (Result, error) {
	began := time.Now()
	w := &work{c, nil, j}
	result, err := c.exclusively(ctx, w.mark(), func(store *bundle.Store) (Compiled, error) {
		w.store = store
		return w.do(ctx, put)
	})
	if err != nil {
		c.log.Error("compile.failed", "package", j.name, "version", j.version, "error", err)
		var failed *ScriptError
		if errors.As(err, &failed) {
			return Result{}, err // which says all that there is to say
		}
		return Result{}, fmt.Errorf("Compiling package %s: %w", j.name, err)
	}
	c.log.Info("compile.done", "package", j.name, "version", j.version, "took", time.Since(began))
	return Result{result}, nil
}

func (c *Compiler) exclusively(ctx context.Context, mark string, do func(*bundle.Store) (Compiled, error)) (result Compiled, err error) {
	opts := bundle.Options{Limits: tarball.Limits{MaxBytes: c.cfg.MaxBytes, MaxMembers: c.cfg.MaxMembers}}
	if c.cfg.Owner != nil {
		opts.Owner = &tarball.Owner{UID: c.cfg.Owner.UID, GID: c.cfg.Owner.GID}
	}
	store, err := bundle.Open(c.cfg.Base, opts)
	if err != nil {
		return result, err
	}
	defer store.Close()
	unlock, err := store.Lock(ctx)
	if err != nil {
		return result, err
	}
	defer unlock()
	// What there was before comes back, and nothing else is left, on each way out.
	if err := rmtree.In(store.Root(), compileDir); err != nil {
		return result, fmt.Errorf("clean up: %w", err)
	}
	if err := store.Snapshot(mark); err != nil {
		return result, fmt.Errorf("remember packages: %w", err)
	}
	defer func() {
		if e := errors.Join(store.Restore(), rmtree.In(store.Root(), compileDir)); e != nil {
			err = errors.Join(err, fmt.Errorf("clean up: %w", e))
		}
	}()
	return do(store)
}

// A work is one compilation that is under way.
type work struct {
	*Compiler
	store *bundle.Store
	job
}

func (w *work) dir() string           { return path.Join(compileDir, w.name) }
func (w *work) target() bundle.Bundle { return bundle.Compiling(w.name, w.version) }

func (w *work) do(ctx context.Context, put func(io.ReadSeeker) (Compiled, error)) (Compiled, error) {
	if err := w.dependencies(ctx); err != nil {
		return Compiled{}, err
	}
	plain, err := w.fetch(ctx)
	if err != nil {
		return Compiled{}, fmt.Errorf("Fetching package source: %w", err)
	}
	if err := w.checkSpace(); err != nil {
		return Compiled{}, err
	}
	if err := w.store.Uninstall(w.target()); err != nil {
		return Compiled{}, err
	}
	if err := w.store.MkdirAll(w.target().Path(), 0o755); err != nil {
		return Compiled{}, err
	}
	if err := w.store.Link(w.target()); err != nil {
		return Compiled{}, err
	}
	if err := w.runScript(ctx); err != nil {
		return Compiled{}, err
	}
	f, err := w.pack(ctx, plain)
	if err != nil {
		return Compiled{}, fmt.Errorf("Compressing compiled package: %w", err)
	}
	defer f.Close()
	result, err := put(f)
	if err != nil {
		return Compiled{}, fmt.Errorf("Uploading compiled package: %w", err)
	}
	return result, nil
}

// dependencies installs and links what the package needs.
func (w *work) dependencies(ctx context.Context) error {
	if err := w.store.Install(ctx, w.cfg.Blobs, w.cfg.Parallel, bundle.Wanted{Packages: w.deps, Passing: true}); err != nil {
		return err
	}
	for _, p := range w.deps {
		b, err := bundle.PackageBundle(p)
		if err != nil {
			return err
		}
		if err := w.store.Link(b); err != nil {
			return err
		}
	}
	return nil
}

// fetch unpacks the source, and tells whether it came uncompressed.
func (w *work) fetch(ctx context.Context) (plain bool, err error) {
	blob, err := w.cfg.Blobs.Get(ctx, w.source)
	if err != nil {
		return false, err
	}
	defer blob.Close()
	if err := w.store.MkdirAll(w.dir(), 0o755); err != nil {
		return false, err
	}
	return w.store.Extract(ctx, blob, w.dir())
}

// open returns a file below the base directory that is made anew.
func (w *work) open(name string) (*os.File, error) {
	return w.store.Root().OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o640)
}
