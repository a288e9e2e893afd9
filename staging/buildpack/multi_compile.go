package buildpack

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/deakit/deakit/container"
)

// The directories of a [Multi]: the first two in the root, the last one in the cache.
const (
	depsName     = "deps"
	profileName  = "profile.d"
	finalizeName = "final"
)

// Compile has all members supply and the last one finalize the app. Their output goes to the log. What a program fails
// with is a [*ScriptError] in a [*MemberError].
func (m *Multi) Compile(ctx context.Context, b Build) error {
	if m.group != nil {
		return m.group.Compile(ctx, b)
	}
	if err := m.check(); err != nil {
		return err
	}
	if err := m.layOut(ctx, b); err != nil {
		return err
	}
	last := len(m.members) - 1
	for i := range last {
		if err := m.supply(ctx, b, i); err != nil {
			return m.failure(i, err)
		}
	}
	return m.failure(last, m.finish(ctx, b, last))
}

// check finds members that lack what they need at their place, before any of them has begun.
func (m *Multi) check() error {
	last := len(m.members) - 1
	for i := range last {
		if !m.programs(i).has("supply") {
			return m.failure(i, &ScriptError{Script: script("supply"), Err: ErrNoSupply})
		}
	}
	if p := m.programs(last); !p.has("finalize") && !p.has("compile") {
		return m.failure(last, &ScriptError{Script: script("finalize"), Err: errors.New(
			"neither it nor bin/compile is there: such a buildpack only supplies, name one behind it that finalizes the app")})
	}
	return nil
}

func (m *Multi) supply(ctx context.Context, b Build, i int) error {
	args := append(b.inside(b.AppDir, m.cache(b, i), path.Join(b.Root, depsName)), m.index(i))
	return m.programs(i).must(ctx, b, "supply", args...)
}

// finish is the work of the last member.
func (m *Multi) finish(ctx context.Context, b Build, last int) error {
	programs, name := m.programs(last), "finalize"
	if programs.has(name) {
		if programs.has("supply") {
			if err := m.supply(ctx, b, last); err != nil {
				return err
			}
		}
		args := append(b.inside(b.AppDir, m.cache(b, last), path.Join(b.Root, depsName)), m.index(last))
		args = append(args, b.inside(path.Join(b.Root, profileName))...)
		if err := programs.must(ctx, b, name, args...); err != nil {
			return err
		}
	} else {
		name = "compile"
		if last > 0 {
			fmt.Fprintln(b.stderr(), missingFinalize)
		}
		if _, err := shell(ctx, b, `rm -rf -- "$1"`, b.Info.Inside(m.deps(b, last))); err != nil {
			return err
		}
		if err := programs.must(ctx, b, name, b.inside(b.AppDir, m.cache(b, last))...); err != nil {
			return err
		}
	}
	return m.intact(ctx, b, name)
}

// index is the name of a member's directory below deps: as many digits as the number of members has.
func (m *Multi) index(i int) string {
	return fmt.Sprintf("%0*d", len(fmt.Sprint(len(m.members))), i)
}

// deps is the directory of a member's dependencies.
func (m *Multi) deps(b Build, i int) string { return path.Join(b.Root, depsName, m.index(i)) }

// cache is the directory of the cache that is a member's, by what stays the same of it from one staging to the next. The
// last one's is the same whoever it is.
func (m *Multi) cache(b Build, i int) string {
	if i == len(m.members)-1 {
		return path.Join(b.CacheDir, finalizeName)
	}
	return path.Join(b.CacheDir, Hash(nameOf(m.members[i])))
}

// Hash names the directories that belong to a buildpack, by its key or URL: xxHash64 as 16 hexadecimal digits
// (buildpackapplifecycle).
func Hash(name string) string { return fmt.Sprintf("%016x", xxhash.Sum64String(name)) }

// tidyScript removes what is in a directory and not named behind it, or no directory.
const tidyScript = `cd "$1" || exit
shift
for found in * .[!.]* ..?*; do
  keep=
  for name; do
    if [ "$found" = "$name" ] && [ -d "$found" ] && [ ! -L "$found" ]; then keep=1; fi
  done
  if [ -z "$keep" ]; then rm -rf -- "./$found" || exit; fi
done`

// layOut makes the directories of the droplet, and those of the cache, which keeps nothing else.
func (m *Multi) layOut(ctx context.Context, b Build) error {
	made := []string{b.Info.Inside(path.Join(b.Root, profileName))}
	keep := []string{b.Info.Inside(b.CacheDir)}
	for i := range m.members {
		made = append(made, b.inside(m.deps(b, i), m.cache(b, i))...)
		keep = append(keep, path.Base(m.cache(b, i)))
	}
	if _, err := shell(ctx, b, tidyScript, keep...); err != nil {
		return err
	}
	_, err := shell(ctx, b, `mkdir -p -- "$@"`, made...)
	return err
}

// intactScript tells the first of the paths that is something else than a directory.
const intactScript = `for found; do
  if [ -L "$found" ] || { [ -e "$found" ] && [ ! -d "$found" ]; }; then echo "$found"; exit; fi
done`

// intact finds directories that a program has replaced by links. What is read and packed after it would be that of
// another place.
func (m *Multi) intact(ctx context.Context, b Build, name string) error {
	paths := b.inside(path.Join(b.Root, depsName), path.Join(b.Root, profileName))
	for i := range m.members {
		paths = append(paths, b.Info.Inside(m.deps(b, i)))
	}
	bent, err := shell(ctx, b, intactScript, paths...)
	if err == nil && bent != "" {
		bent = strings.TrimPrefix(bent, b.Info.Inside(b.Root)+"/")
		err = &ScriptError{Script: script(name), Err: fmt.Errorf("when it had ended, %.200q was no directory any more", bent)}
	}
	return err
}

// shell runs a piece of shell of ours and returns the first of what it prints. Paths have been passed through
// Build.inside. Failure is trouble with the container.
func shell(ctx context.Context, b Build, text string, args ...string) (string, error) {
	var out limited
	spec := container.ProcessSpec{Path: "/bin/sh", Args: append([]string{"-c", text, "sh"}, args...), Dir: "/tmp"}
	process, err := b.Container.Run(ctx, spec, container.IO{Stdout: &out, Stderr: b.stderr()})
	if err != nil {
		return "", err
	}
	status, err := process.Wait(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		kill(ctx, process)
		return "", context.Cause(ctx)
	case err == nil && status != 0:
		err = fmt.Errorf("lay out the container: sh exited with status %d", status)
	}
	return strings.TrimSpace(out.text()), err
}
