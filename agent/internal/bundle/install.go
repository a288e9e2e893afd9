package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/agent/spec"
)

// Blobs gets blobs whose digest has been checked. The caller closes them.
type Blobs interface {
	Get(context.Context, spec.Source) (io.ReadCloser, error)
}

// A Wanted is what is to be installed. Names and versions have been checked.
type Wanted struct {
	Packages []spec.Package
	Jobs     []spec.Template
	Archive  *spec.Archive // of all jobs

	// Passing says that Restore will remove them again, also after a loss of power: nothing has to be on disk.
	Passing bool
}

// PackageBundle is the bundle of a package.
func PackageBundle(p spec.Package) (Bundle, error) {
	source, err := p.Source()
	return New(Packages, p.Name, p.Version, source.Digest), err
}

// JobBundle is the bundle of a job. Its digest is that of the archive, so that each change of any of its files makes a new
// one.
func JobBundle(t spec.Template, archive *spec.Archive) (Bundle, error) {
	source, err := archive.Source()
	return New(Jobs, t.Name, t.Version, source.Digest), err
}

// An installation is one call of Install.
type installation struct {
	store   *Store
	blobs   Blobs
	passing bool

	mu     sync.Mutex
	asides []string
	done   []unpacked
}

// An unpacked bundle is whole, and has no name yet.
type unpacked struct {
	aside  string
	bundle Bundle
}

// Install fetches and unpacks what is not there yet, so many at a time. After an error, what was complete is installed, and
// nothing else is left.
func (s *Store) Install(ctx context.Context, blobs Blobs, parallel int, w Wanted) error {
	in := &installation{store: s, blobs: blobs, passing: w.Passing}
	defer in.discard()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	missing, err := s.missingJobs(w)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		group.Go(func() error { return in.jobs(ctx, w.Archive, missing) })
	}
	for _, p := range w.Packages {
		group.Go(func() error {
			if err := in.pack(ctx, p); err != nil {
				return fmt.Errorf("installing package '%s': %w", p.Name, err)
			}
			return nil
		})
	}
	err = group.Wait()
	if placed := in.place(); err == nil {
		err = placed
	}
	return err
}

// missingJobs returns the bundles of jobs that are not there.
func (s *Store) missingJobs(w Wanted) (missing []Bundle, err error) {
	for _, t := range w.Jobs {
		b, err := JobBundle(t, w.Archive)
		if err != nil {
			return nil, err
		}
		there, err := s.Installed(b)
		if err != nil {
			return nil, err
		}
		if !there {
			missing = append(missing, b)
		}
	}
	return missing, nil
}

func (in *installation) pack(ctx context.Context, p spec.Package) error {
	b, err := PackageBundle(p)
	if err != nil {
		return err
	}
	if there, err := in.store.Installed(b); there || err != nil {
		return err
	}
	source, err := p.Source()
	if err != nil {
		return err
	}
	aside, err := in.unpack(ctx, Packages, source)
	if err != nil {
		return err
	}
	in.ready(unpacked{aside, b})
	return nil
}

// jobs unpacks the archive once for all. Each job is a directory in it.
func (in *installation) jobs(ctx context.Context, archive *spec.Archive, missing []Bundle) error {
	source, err := archive.Source()
	if err != nil {
		return err
	}
	aside, err := in.unpack(ctx, Jobs, source)
	if err != nil {
		return fmt.Errorf("installing jobs: %w", err)
	}
	for _, b := range missing {
		dir := path.Join(aside, b.Name)
		if info, err := in.store.root.Lstat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("installing job '%s': no file with prefix '%s' found", b.Name, b.Name)
		}
		if err := in.store.SetJobModes(dir); err != nil {
			return fmt.Errorf("installing job '%s': %w", b.Name, err)
		}
		in.ready(unpacked{dir, b})
	}
	return nil
}

func (in *installation) unpack(ctx context.Context, kind Kind, source spec.Source) (string, error) {
	blob, err := in.blobs.Get(ctx, source)
	if err != nil {
		return "", err
	}
	defer blob.Close()
	aside, err := in.store.Aside(kind)
	if err != nil {
		return "", err
	}
	in.mu.Lock()
	in.asides = append(in.asides, aside)
	in.mu.Unlock()
	_, err = in.store.Extract(ctx, blob, aside)
	return aside, err
}

func (in *installation) ready(u unpacked) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.done = append(in.done, u)
}

// place writes all to disk, at once for each file system, before anything gets its name.
func (in *installation) place() error {
	for _, kind := range []Kind{Jobs, Packages} {
		of := func(u unpacked) bool { return u.bundle.Kind == kind }
		if in.passing || !slices.ContainsFunc(in.done, of) {
			continue
		}
		if err := in.store.Flush(kind); err != nil {
			return err
		}
	}
	var errs []error
	for _, u := range in.done {
		if err := in.store.Place(u.aside, u.bundle); err != nil {
			errs = append(errs, fmt.Errorf("installing %s: %w", u.bundle.Link(), err))
		}
	}
	return errors.Join(errs...)
}

// discard removes what was not placed. What cannot be removed now is swept the next time.
func (in *installation) discard() {
	for _, aside := range in.asides {
		_ = in.store.Discard(aside)
	}
}
