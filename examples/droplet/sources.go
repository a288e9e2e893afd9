package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/deakit/deakit/examples/buildpacks"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// sampleNames are the buildpacks that the program brings, in the order in which they are tried.
func sampleNames() []string { return buildpacks.Names() }

// openBuildpacks returns a task with the buildpacks that the user wants. The caller calls done when the container is gone.
func (s *stagingJob) openBuildpacks() (_ staging.Task, done func(), err error) {
	store, err := buildpack.OpenStore(s.work.path("buildpacks"), buildpack.StoreOptions{Logger: s.env.log})
	if err != nil {
		return staging.Task{}, nil, err
	}
	done = func() {
		if err := store.Close(); err != nil {
			s.env.log.Warn("buildpacks.close.failed", "error", err)
		}
	}
	task, err := s.task(store)
	if err != nil {
		done()
		return staging.Task{}, nil, err
	}
	return task, done, nil
}

func (s *stagingJob) task(store *buildpack.Store) (staging.Task, error) {
	names := s.Buildpack
	if len(names) == 0 {
		names = sampleNames()
	}
	var packs []buildpack.Buildpack
	for _, name := range names {
		bp, err := s.openBuildpack(store, name)
		if err != nil {
			return staging.Task{}, &codedError{code: exitFetch, err: err}
		}
		packs = append(packs, bp)
	}
	if s.Detect || len(s.Buildpack) == 0 {
		return staging.Task{Buildpacks: packs}, nil
	}
	forced, err := compose(packs)
	if err != nil {
		return staging.Task{}, &codedError{code: exitFetch, err: err}
	}
	return staging.Task{Custom: forced}, nil
}

// openBuildpack turns what the user named into a buildpack. What has to be fetched is fetched when it is its turn.
func (s *stagingJob) openBuildpack(store *buildpack.Store, name string) (buildpack.Buildpack, error) {
	if slices.Contains(sampleNames(), name) {
		return openSample(s.env.ctx, store, name)
	}
	source, err := buildpack.ParseSource(name)
	if err != nil {
		return nil, fmt.Errorf("%w; or one of the samples: %s", err, strings.Join(sampleNames(), ", "))
	}
	return source.Open(s.work.dir, buildpack.FetchOptions{
		// What this user may clone is no secret to this user.
		Git:  buildpack.GitOptions{Schemes: []string{"https", "http", "git", "ssh", "file"}},
		Copy: s.users, // who may have no access to where it stands
	})
}

// openSample unpacks one of the buildpacks that the program brings.
func openSample(ctx context.Context, store *buildpack.Store, name string) (buildpack.Buildpack, error) {
	var archive bytes.Buffer
	if err := buildpacks.WriteZip(&archive, name); err != nil {
		return nil, err
	}
	ref, err := store.Get(ctx, name, func(_ context.Context, w io.Writer) error {
		_, err := w.Write(archive.Bytes())
		return err
	})
	if err != nil {
		return nil, err
	}
	bp, err := ref.Buildpack()
	if err != nil {
		return nil, err
	}
	return placed{bp, "sample:" + name}, nil // which nobody removes but with the workspace
}

// A placed is a buildpack that stands in the workspace and comes from elsewhere.
type placed struct {
	buildpack.Buildpack
	from string
}

// Path tells droplets where it comes from: where it stands is another place each time, and equal droplets shall have equal
// bytes.
func (p placed) Path() string { return p.from }

// compose makes one buildpack of those that the user forces.
func compose(packs []buildpack.Buildpack) (buildpack.Buildpack, error) {
	if len(packs) == 1 {
		return packs[0], nil
	}
	for i, bp := range packs {
		if p, ok := bp.(placed); ok {
			packs[i] = p.Buildpack // beside others it has to say where its programs stand
		}
	}
	return buildpack.Compose(packs...)
}
