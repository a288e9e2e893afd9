package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/staging/cfignore"
)

// source returns the path of the app, absolute and without links.
func (c *stageCmd) source() (string, error) {
	app, err := resolved(c.App)
	var none *codedError
	if errors.As(err, &none) {
		none.remedy = "name the source of an app: a directory, a zip file or a tar file"
	}
	return app, err
}

// leftOut tells what of a directory is none of the app: what the cf CLI leaves out, and what this program writes there.
func (s *stagingJob) leftOut(cache *cacheFile) (func(string, bool) (exclude, prune bool), error) {
	info, err := os.Stat(s.app)
	if err != nil || !info.IsDir() {
		return nil, err
	}
	root, err := os.OpenRoot(s.app)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	rules, err := cfignore.Read(root)
	if err != nil {
		return nil, &codedError{code: exitSource, err: fmt.Errorf("%s: %w", s.App, err)}
	}
	written := s.written(cache)
	return func(name string, dir bool) (exclude, prune bool) {
		// Where files cannot be without a name, that of the droplet has a temporary one by now.
		if !dir && (slices.Contains(written, name) || strings.HasPrefix(path.Base(name), atomicfile.TempPrefix)) {
			return true, false
		}
		return rules.Exclude(name, dir)
	}, nil
}

// written are the files that this program writes, and links to them that it was given, as paths below the app.
func (s *stagingJob) written(cache *cacheFile) (names []string) {
	for _, file := range []struct{ typed, path string }{{s.Output, s.output.path}, {cache.path, cache.place()}} {
		if file.path == "" {
			continue
		}
		places := []string{file.path}
		if dir, err := resolved(filepath.Dir(file.typed)); err == nil {
			places = append(places, filepath.Join(dir, filepath.Base(file.typed)))
		}
		for _, place := range places {
			if name, err := filepath.Rel(s.app, place); err == nil {
				names = append(names, name)
			}
		}
	}
	return names
}
