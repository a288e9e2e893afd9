package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/deakit/deakit/agent/internal/bundle"
	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/internal/tarball"
)

// Results of the methods of an agent (bosh-agent).
const (
	Prepared = "prepared"
	Applied  = "applied"
)

// Blobs is where archives come from.
type Blobs interface {
	// Get fetches a blob and checks its digest. The caller closes it. It is called from several goroutines at once.
	Get(context.Context, spec.Source) (io.ReadCloser, error)
	// Forget removes a blob that was sent to this machine, if it is one: it is installed now.
	Forget(ctx context.Context, id string) error
}

// A Monitor supervises the processes of jobs.
type Monitor interface {
	// RemoveJobs removes all monit files.
	RemoveJobs() error
	// Reload makes the monit files count that are there.
	Reload(context.Context) error
}

// An Owner is a user and a group by number.
type Owner struct{ UID, GID int }

// Config says where and from what an [Installer] installs.
type Config struct {
	Base  string      // base directory; required
	Blobs Blobs       // required
	Specs *spec.Store // of the same base directory; required

	Monitor    Monitor // nil: nobody supervises
	SystemRoot string  // the directory below which etc/logrotate.d/vcap is written; empty: it is not
	Parallel   int     // archives that are fetched and unpacked at a time; default 5 (env.bosh.parallel)
	Owner      *Owner  // of all that is installed, root and the group vcap in production; nil: the user of this process
	MaxBytes   int64   // of one archive, unpacked; default 4 GiB
	MaxMembers int     // of one archive; default 500,000

	Logger *slog.Logger // nil discards
}

const defaultParallel = 5

// An Installer installs jobs and packages. Its methods may be called from several goroutines at once; they take turns, also
// with those of other processes and of package compile for the same base directory.
type Installer struct {
	cfg Config
	log *slog.Logger
}

// New checks a configuration. It does nothing yet.
func New(cfg Config) (*Installer, error) {
	if cfg.Base == "" || cfg.Blobs == nil || cfg.Specs == nil {
		return nil, errors.New("job: a Config needs Base, Blobs and Specs")
	}
	if cfg.Parallel < 1 {
		cfg.Parallel = defaultParallel
	}
	return &Installer{cfg, cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))}, nil
}

func (i *Installer) open() (*bundle.Store, error) {
	opts := bundle.Options{Limits: tarball.Limits{MaxBytes: i.cfg.MaxBytes, MaxMembers: i.cfg.MaxMembers}}
	if i.cfg.Owner != nil {
		opts.Owner = &tarball.Owner{UID: i.cfg.Owner.UID, GID: i.cfg.Owner.GID}
	}
	return bundle.Open(i.cfg.Base, opts)
}

// exclusively calls do when nobody else installs anything.
func (i *Installer) exclusively(ctx context.Context, do func(*bundle.Store) error) error {
	store, err := i.open()
	if err != nil {
		return err
	}
	defer store.Close()
	unlock, err := store.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return do(store)
}

// Prepare installs what a spec needs and enables nothing. It returns "prepared".
func (i *Installer) Prepare(ctx context.Context, s spec.Spec) (string, error) {
	if err := s.Validate(); err != nil {
		return "", fmt.Errorf("preparing apply spec: %w", err)
	}
	err := i.exclusively(ctx, func(store *bundle.Store) error { return i.install(ctx, store, s) })
	if err != nil {
		return "", fmt.Errorf("preparing apply spec: %w", err)
	}
	return Prepared, nil
}

// install installs and links nothing.
func (i *Installer) install(ctx context.Context, store *bundle.Store, s spec.Spec) error {
	if err := store.Install(ctx, i.cfg.Blobs, i.cfg.Parallel, wanted(s)); err != nil {
		return err
	}
	if s.RenderedTemplates == nil || s.RenderedTemplates.BlobID == "" {
		return nil
	}
	if err := i.cfg.Blobs.Forget(ctx, s.RenderedTemplates.BlobID); err != nil {
		i.log.Warn("job.blob.left", "blob", s.RenderedTemplates.BlobID, "error", err) // it takes room, no more
	}
	return nil
}
