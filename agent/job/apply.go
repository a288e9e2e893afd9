package job

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/deakit/deakit/agent/internal/bundle"
	"github.com/deakit/deakit/agent/spec"
)

// Apply makes the machine what the spec says, and keeps the spec. Without a configuration hash there is nothing to be
// installed or removed: the spec is only kept. It returns "applied".
//
// The monit files of the jobs before are gone afterwards; those of the new ones are written when jobs are started
// (MonitFiles). After an error the old spec is kept; what of the new one is installed already stays for another try.
func (i *Installer) Apply(ctx context.Context, s spec.Spec) (string, error) {
	if s.ConfigurationHash != "" {
		if err := s.Validate(); err != nil {
			return "", fmt.Errorf("applying: %w", err)
		}
		err := i.exclusively(ctx, func(store *bundle.Store) error { return i.apply(ctx, store, s) })
		if err != nil {
			return "", fmt.Errorf("applying: %w", err)
		}
	}
	if err := i.cfg.Specs.Save(s); err != nil {
		return "", fmt.Errorf("applying: %w", err)
	}
	i.log.Info("job.applied", "deployment", s.Deployment, "name", s.Name, "jobs", len(s.Templates()), "packages", len(s.Packages),
		"installed", s.ConfigurationHash != "")
	return Applied, nil
}

// apply is the sequence of the Go agent.
func (i *Installer) apply(ctx context.Context, store *bundle.Store, s spec.Spec) error {
	jobs, packages, err := bundles(s)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"removing monit files", i.removeMonitFiles},
		{"installing", func() error { return i.install(ctx, store, s) }},
		{"linking packages", func() error { return linkAll(store, packages) }},
		{"linking jobs", func() error { return linkJobs(store, jobs, packages) }},
		{"removing other jobs", func() error { return store.Keep(bundle.Jobs, names(jobs), jobs) }},
		{"removing other packages", func() error { return store.Keep(bundle.Packages, names(packages), packages) }},
		{"reloading the supervisor", func() error { return i.reload(ctx) }},
		{"setting up log rotation", func() error { return i.rotateLogs(s) }},
	} {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (i *Installer) removeMonitFiles() error {
	if i.cfg.Monitor == nil {
		return nil
	}
	return i.cfg.Monitor.RemoveJobs()
}

func (i *Installer) reload(ctx context.Context) error {
	if i.cfg.Monitor == nil {
		return nil
	}
	return i.cfg.Monitor.Reload(ctx)
}

func wanted(s spec.Spec) bundle.Wanted {
	w := bundle.Wanted{Jobs: s.Templates(), Archive: s.RenderedTemplates}
	for _, name := range slices.Sorted(maps.Keys(s.Packages)) {
		w.Packages = append(w.Packages, s.Packages[name])
	}
	return w
}

// bundles returns what the spec names.
func bundles(s spec.Spec) (jobs, packages []bundle.Bundle, err error) {
	w := wanted(s)
	for _, t := range w.Jobs {
		b, err := bundle.JobBundle(t, w.Archive)
		if err != nil {
			return nil, nil, err
		}
		jobs = append(jobs, b)
	}
	for _, p := range w.Packages {
		b, err := bundle.PackageBundle(p)
		if err != nil {
			return nil, nil, err
		}
		packages = append(packages, b)
	}
	return jobs, packages, nil
}

func names(bundles []bundle.Bundle) map[string]bool {
	all := make(map[string]bool, len(bundles))
	for _, b := range bundles {
		all[b.Name] = true
	}
	return all
}

func linkAll(store *bundle.Store, bundles []bundle.Bundle) error {
	for _, b := range bundles {
		if err := store.Link(b); err != nil {
			return err
		}
	}
	return nil
}

// linkJobs makes the directories of each job, gives it a link to each package, and then its own link.
func linkJobs(store *bundle.Store, jobs, packages []bundle.Bundle) error {
	for _, j := range jobs {
		if err := store.MakeJobDirs(j.Name); err != nil {
			return err
		}
		dir := path.Join(j.Path(), "packages")
		if err := store.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		for _, p := range packages {
			// Up from packages, the hash, the name and jobs, to data.
			target := path.Join("../../../..", string(bundle.Packages), p.Name, p.Dir)
			if err := store.Symlink(path.Join(dir, p.Name), target); err != nil {
				return err
			}
		}
		if err := store.KeepLinks(dir, names(packages)); err != nil {
			return err
		}
		if err := store.Link(j); err != nil {
			return err
		}
	}
	return nil
}

// MakeDirs makes the directories that the jobs of the kept spec write to, where they are missing: some of them are gone
// when the machine starts. A spec that was only kept may name jobs that Apply would not install; they get none, and nobody gets
// any of a spec that is malformed: a machine that starts can be told another one.
func (i *Installer) MakeDirs() error {
	s, err := i.cfg.Specs.Load()
	if errors.Is(err, spec.ErrInvalid) {
		i.log.Error("job.no_directories", "error", err)
		err = nil
	}
	if err != nil {
		return err
	}
	store, err := i.open()
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.MakeSys(); err != nil {
		return err
	}
	for _, t := range s.Templates() {
		if err := spec.CheckName("job", t.Name); err != nil {
			i.log.Warn("job.no_directories", "error", err)
			continue
		}
		if err := store.MakeJobDirs(t.Name); err != nil {
			return err
		}
	}
	return nil
}
