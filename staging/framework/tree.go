package framework

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/internal/tarball"
)

// maxText bounds the files of an app that plugins read.
const maxText = 4 << 20

// maxLog bounds logs/staging.log.
const maxLog = 1 << 20

// A Tree is a droplet that a [Plugin] makes, and the app that it makes it of. Its methods touch nothing outside of the two
// directories: links that lead out of them are errors. It belongs to one goroutine.
type Tree struct {
	Properties Properties
	Options    Options

	app      *os.Root // the source, read only
	root     *os.Root // the droplet
	log      bytes.Buffer
	programs []Program
}

// A Program is what has to run, in the place where the app will run, before a droplet is complete.
type Program struct {
	// Script is for /bin/sh. The placeholder of package runtimes stands for the runtime's executable.
	Script string
	Dir    string // relative to the droplet

	// Failure is what the failure of staging is called when the script ends with a status other than 0. Where it is empty,
	// that is no failure: the script has told what follows.
	Failure string
}

// Run asks for a program to be run after all files are there. Programs run in the order in which they were asked for.
func (t *Tree) Run(p Program) { t.programs = append(t.programs, p) }

// Log tells people one line.
func (t *Tree) Log(format string, args ...any) {
	line := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ") + "\n"
	if t.log.Len()+len(line) <= maxLog {
		t.log.WriteString(line)
	}
	if t.Options.Log != nil {
		_, _ = io.WriteString(t.Options.Log, line) // which must not fail
	}
}

// Directories makes directories of the droplet, and those above them, of mode 0755 whatever the umask. Those that exist stay
// as they are.
func (t *Tree) Directories(names ...string) error {
	for _, name := range names {
		made := ""
		for part := range strings.SplitSeq(path.Clean(name), "/") {
			made = path.Join(made, part)
			err := t.root.Mkdir(made, 0o755)
			if err == nil {
				err = t.root.Chmod(made, 0o755)
			}
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	return nil
}

// CopyApp copies the app, hidden files included, or a directory of it, into a directory of the droplet, which is made if
// need be. Modes, times and links are kept; FIFOs, sockets and devices are left out; links that lead out of the app are
// refused, absolute ones excepted: those mean something where the app runs.
func (t *Tree) CopyApp(ctx context.Context, from, to string) error {
	err := t.copy(ctx, t.app, from, to)
	var refused *tarball.MemberError
	if errors.As(err, &refused) {
		return &AppError{Text: "The app cannot be staged: " + refused.Error(), Err: err}
	}
	return err
}

// CopyResource copies what Options.Resources has under a name, a file or a directory, into the droplet under another.
func (t *Tree) CopyResource(ctx context.Context, name, to string) error {
	from, err := os.OpenRoot(t.Options.Resources)
	if err != nil {
		return fmt.Errorf("resources of staging: %w", err)
	}
	defer from.Close()
	info, err := from.Stat(name)
	if err == nil && info.IsDir() {
		err = t.copy(ctx, from, name, to)
	} else if err == nil {
		err = t.copyFile(from, name, to)
	}
	if err != nil {
		return fmt.Errorf("resources of staging: %w", err)
	}
	return nil
}

func (t *Tree) copyFile(from *os.Root, name, to string) error {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	return t.write(to, in, 0o644)
}

// copy copies a directory as a tar stream, in which links and special files are judged.
func (t *Tree) copy(ctx context.Context, from *os.Root, dir, to string) error {
	if err := t.Directories(to); err != nil {
		return err
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := tarball.Write(ctx, w, from, path.Clean("/"+dir)+"/", tarball.Options{Limits: t.Options.limits()})
		w.CloseWithError(err)
		written <- err
	}()
	err := tarball.Extract(ctx, t.root, to, r, tarball.ExtractOptions{Limits: t.Options.limits(), AbsoluteLinks: true})
	r.CloseWithError(io.ErrClosedPipe)
	if wrote := <-written; wrote != nil && !errors.Is(wrote, io.ErrClosedPipe) {
		return wrote
	}
	return err
}

// Write writes a file of the droplet, in place of what stands there: a link is replaced and not followed. The directories
// above it are made.
func (t *Tree) Write(name, content string, mode fs.FileMode) error {
	return t.write(name, strings.NewReader(content), mode)
}

func (t *Tree) write(name string, content io.Reader, mode fs.FileMode) error {
	if err := t.checkWay(name); err != nil {
		return err
	}
	if err := t.Directories(path.Dir(name)); err != nil {
		return err
	}
	if err := rmtree.In(t.root, name); err != nil {
		return err
	}
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chmod(mode), f.Close()) // whatever the umask
}

// checkWay refuses a name that leads through something that is no directory: only an app can have put that there.
func (t *Tree) checkWay(name string) error {
	for i, r := range name {
		if r != '/' {
			continue
		}
		if _, err := t.root.Lstat(name[:i]); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if info, err := t.root.Stat(name[:i]); err != nil || !info.IsDir() {
			return wrong("%s cannot be written: %s is no directory of the app", name, name[:i])
		}
	}
	return nil
}

// Rewrite is Write for a file that may be there, and that keeps its mode then; else it gets 0644.
func (t *Tree) Rewrite(name, content string) error {
	mode := fs.FileMode(0o644)
	if info, err := t.root.Stat(name); err == nil {
		mode = info.Mode().Perm()
	}
	return t.Write(name, content, mode)
}

// Link makes a symbolic link in the droplet in place of what stands there. It may lead anywhere.
func (t *Tree) Link(target, name string) error {
	if err := rmtree.In(t.root, name); err != nil {
		return err
	}
	return t.root.Symlink(target, name)
}

// Has tells whether there is something in the droplet under a name, and no link that leads out of it.
func (t *Tree) Has(name string) bool {
	_, err := t.root.Stat(name)
	return err == nil
}

// Read reads a text of the droplet that the app has brought, of at most 4 MiB. There is none where nothing stands under
// the name; what is too large or no file is an [*AppError].
func (t *Tree) Read(name string) (content []byte, there bool, err error) {
	info, err := t.root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	switch {
	case err != nil:
		return nil, false, wrong("%s cannot be read: %w", name, err)
	case !info.Mode().IsRegular():
		return nil, false, wrong("%s is no file", name)
	case info.Size() > maxText:
		return nil, false, wrong("%s has more than %d bytes", name, maxText)
	}
	if content, err = t.root.ReadFile(name); err != nil {
		return nil, false, wrong("%s cannot be read: %w", name, err)
	}
	return content, true, nil
}

// FS is the droplet as a file system.
func (t *Tree) FS() fs.FS { return t.root.FS() }

// sub opens a directory of the droplet. The caller closes it.
func (t *Tree) sub(dir string) (*os.Root, error) { return t.root.OpenRoot(dir) }

// matching are the files of the app in the droplet that the detection rules of its framework find.
func (t *Tree) matching(ctx context.Context, framework string) ([]string, error) {
	rules := t.Properties.Detection
	if len(rules) == 0 {
		rules = rulesOf(framework)
	}
	app, err := t.sub("app")
	if err != nil {
		return nil, err
	}
	defer app.Close()
	files, err := rules.Files(endingFS{ctx, app.FS()})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, wrong("The detection rules of the framework cannot be applied: %w", err)
	}
	return files, nil
}

// memory is what the app may use, in MiB.
func (t *Tree) memory() int {
	if t.Properties.Resources.MemoryMB == 0 {
		return 512
	}
	return t.Properties.Resources.MemoryMB
}

// variable returns a variable of the app's environment, the first one of the name.
func (t *Tree) variable(name string) (string, bool) {
	for _, entry := range t.Properties.Environment {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}
