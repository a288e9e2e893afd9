package buildpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/rmtree"
)

// A Fetched is a buildpack whose files Prepare gets from elsewhere. Of what kind it is shows only then; the container
// shows its directory before there is anything in it.
type Fetched struct {
	source string // for people: without secrets
	dir    string // of the host, absolute
	fetch  func(ctx context.Context, dir string, log io.Writer) error
	found  Buildpack // nil before Prepare
}

// newFetched makes a directory below parent, which exists, for the files that fetch gets. Its base name is name where that
// can be one.
func newFetched(source, parent, name string, fetch func(context.Context, string, io.Writer) error) (*Fetched, error) {
	parent, err := filepath.Abs(parent)
	if err == nil {
		parent, err = os.MkdirTemp(parent, "buildpack-")
	}
	if err != nil {
		return nil, fmt.Errorf("buildpack %s: %w", source, err)
	}
	if !keyPattern.MatchString(name) {
		name = "buildpack"
	}
	dir := filepath.Join(parent, name)
	if err := errors.Join(os.Chmod(parent, 0o755), os.Mkdir(dir, 0o755)); err != nil {
		return nil, fmt.Errorf("buildpack %s: %w", source, err)
	}
	return &Fetched{source: source, dir: dir, fetch: fetch}, nil
}

// Key implements [Buildpack]. There is none.
func (f *Fetched) Key() string { return "" }

// Path implements [Buildpack]: where the files come from, without user info. The directory on this machine is another one
// each time.
func (f *Fetched) Path() string { return f.source }

// Dir is the directory of the host that the files come to. Whoever made the Fetched removes it when the container is gone.
func (f *Fetched) Dir() string { return f.dir }

// Found is the buildpack that the files are; nil before Prepare.
func (f *Fetched) Found() Buildpack { return f.found }

// Mounts implements [Buildpack].
func (f *Fetched) Mounts() []container.BindMount { return []container.BindMount{{Src: f.dir}} }

// Root implements [Buildpack].
func (f *Fetched) Root() string {
	if f.found == nil {
		return StagedRoot
	}
	return f.found.Root()
}

// Prepare gets the files, unless an earlier call did, and tells the log where from; why it fails is for its caller to tell. What
// stands in a single directory, as in the archives that code hosts make, is taken from there.
func (f *Fetched) Prepare(ctx context.Context, b Build) error {
	if f.found == nil {
		if err := f.get(ctx, b.Log); err != nil {
			return err
		}
	}
	return f.found.Prepare(ctx, b)
}

func (f *Fetched) get(ctx context.Context, log io.Writer) error {
	if err := f.fetch(ctx, f.dir, log); err != nil {
		return err
	}
	if err := publish(filepath.Dir(f.dir)); err != nil {
		return fmt.Errorf("buildpack %s: %w", f.source, err)
	}
	dir, err := filesIn(f.dir)
	if err != nil {
		return fmt.Errorf("buildpack %s: %w", f.source, err)
	}
	f.found, err = open("", dir)
	if errors.Is(err, ErrNoPrograms) {
		err = fmt.Errorf("buildpack %s: %w", f.source, err)
	}
	return err
}

// filesIn returns the one directory that is all that dir holds, else dir.
func filesIn(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) == 1 && entries[0].IsDir() && entries[0].Name() != "bin" {
		return filepath.Join(dir, entries[0].Name()), nil
	}
	return dir, nil
}

var errNotPrepared = errors.New("buildpack is used before it was prepared")

// Detect implements [Buildpack].
func (f *Fetched) Detect(ctx context.Context, b Build) (string, bool, error) {
	if f.found == nil {
		return "", false, errNotPrepared
	}
	return f.found.Detect(ctx, b)
}

// Compile implements [Buildpack].
func (f *Fetched) Compile(ctx context.Context, b Build) error {
	if f.found == nil {
		return errNotPrepared
	}
	return f.found.Compile(ctx, b)
}

// Release implements [Buildpack].
func (f *Fetched) Release(ctx context.Context, b Build) (Release, error) {
	if f.found == nil {
		return Release{}, errNotPrepared
	}
	return f.found.Release(ctx, b)
}

// empty removes what is in a directory. The directory itself stays: a container shows it.
func empty(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := rmtree.In(root, name); err != nil {
			return err
		}
	}
	return nil
}
