package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/staging/buildpack"
)

// choose finds the buildpacks that take part: all of them, or the first that detects the app.
func (b *builder) choose(ctx context.Context) error {
	if b.SkipDetect {
		return b.chooseAll()
	}
	for _, name := range b.BuildpackOrder {
		dir, err := b.locate(name)
		if err != nil {
			fmt.Fprintln(b.process.Stderr, err)
			continue
		}
		info, err := os.Stat(filepath.Join(dir, "bin/detect"))
		if err != nil {
			fmt.Fprintln(b.process.Stderr, err)
			continue
		}
		if info.Mode()&0o111 != 0o111 {
			fmt.Fprintln(b.process.Stderr, "WARNING: buildpack script '/bin/detect' is not executable")
		}
		multi, err := openAs(name, dir)
		if err != nil {
			return err
		}
		detected, ok, err := multi.Detect(ctx, b.build)
		if err != nil {
			return err
		}
		if ok {
			b.taking, b.detected = multi, detected
			return nil
		}
	}
	return fail(ExitNotDetected, notDetected)
}

func (b *builder) chooseAll() error {
	var members []buildpack.Buildpack
	for _, name := range b.BuildpackOrder {
		dir, err := b.locate(name)
		if err != nil {
			return fail(ExitNotSupplied, "%s: %w", notSupplied, err)
		}
		member, err := buildpack.NewClassic(name, dir)
		if err != nil {
			return fail(ExitNotSupplied, "%s: %w", notSupplied, err)
		}
		members = append(members, member)
	}
	var err error
	b.taking, err = buildpack.NewMulti(members...)
	if errors.Is(err, buildpack.ErrNoSupply) {
		return fail(ExitNotSupplied, "%w", buildpack.ErrNoSupply)
	}
	return err
}

func openAs(key, dir string) (*buildpack.Multi, error) {
	classic, err := buildpack.NewClassic(key, dir)
	if err != nil {
		return nil, err
	}
	return buildpack.NewMulti(classic)
}
