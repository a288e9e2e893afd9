package buildpack

import (
	"errors"
	"fmt"
)

// ErrNoPrograms: a directory has none of the files by which the kinds of buildpack are known.
var ErrNoPrograms = errors.New("it has no bin/compile, bin/finalize or buildpack.toml")

// Open returns the buildpack whose files stand in a directory of the host, of the kind that the files tell: a [CNB] where
// there is buildpack.toml or order.toml, unless only programs of the other kinds come with it, a [Multi] of one where there is
// bin/finalize, or bin/supply without bin/compile, else a [Classic]. It fails with ErrNoPrograms where there is none of these.
// key is empty unless it is an admin buildpack. The directory must be readable for the user of the container, and stay until
// the container is gone.
func Open(key, dir string) (Buildpack, error) {
	bp, err := open(key, dir)
	if errors.Is(err, ErrNoPrograms) {
		err = fmt.Errorf("buildpack %s: %w", dir, err)
	}
	return bp, err
}

// open is Open without the name of the directory in ErrNoPrograms: people may know it by another.
func open(key, dir string) (Buildpack, error) {
	if isCNB(dir) {
		c, err := NewCNB(key, dir)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	classic, err := NewClassic(key, dir)
	if err != nil {
		return nil, err
	}
	switch {
	case classic.has("finalize"), classic.has("supply") && !classic.has("compile"):
		return &Multi{members: []Buildpack{classic}}, nil
	case !classic.has("compile"):
		return nil, ErrNoPrograms
	}
	return classic, nil
}
