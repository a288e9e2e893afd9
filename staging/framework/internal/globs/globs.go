// Package globs finds files by the patterns of Ruby's Dir[], in which detection rules are written: "*", "?", "[...]",
// "{a,b}", and "**/" for any number of directories.
//
// As in Ruby, a wildcard does not match a dot at the beginning of a name, and "**" does not enter symbolic links.
package globs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// The bounds of a search.
const (
	maxPattern = 1024
	maxForms   = 64      // that "{a,b}" makes of a pattern
	maxLooked  = 500_000 // entries of directories
	maxDepth   = 128
)

// ErrPattern: a pattern is malformed, too long, or costs too much.
var ErrPattern = errors.New("bad glob pattern")

// Find returns the names that match, sorted bytewise, each once. What cannot be looked into does not match: names that
// lead out of the file system, missing or unreadable directories.
func Find(fsys fs.FS, pattern string) ([]string, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrPattern, maxPattern)
	}
	forms, err := braces(pattern)
	if err != nil {
		return nil, err
	}
	s := &search{fsys: fsys, found: map[string]bool{}}
	for _, form := range forms {
		form = strings.TrimPrefix(path.Clean("/"+form), "/")
		if form == "" {
			continue
		}
		if err := s.below(".", strings.Split(form, "/"), 0); err != nil {
			return nil, err
		}
	}
	names := make([]string, 0, len(s.found))
	for name := range s.found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// braces returns what "{a,b}" stands for.
func braces(pattern string) ([]string, error) {
	done, todo := []string(nil), []string{pattern}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		open := strings.IndexByte(next, '{')
		if open < 0 {
			done = append(done, next)
			continue
		}
		parts, rest, ok := alternatives(next[open+1:])
		if !ok {
			return nil, fmt.Errorf("%w: a brace is not closed", ErrPattern)
		}
		for _, part := range parts {
			todo = append(todo, next[:open]+part+rest)
		}
		if len(done)+len(todo) > maxForms {
			return nil, fmt.Errorf("%w: its braces stand for more than %d patterns", ErrPattern, maxForms)
		}
	}
	return done, nil
}

// alternatives splits what follows an opening brace.
func alternatives(text string) (parts []string, rest string, ok bool) {
	depth, start := 0, 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == ',' && depth == 0:
			parts, start = append(parts, text[start:i]), i+1
		case c == '}':
			return append(parts, text[start:i]), text[i+1:], true
		}
	}
	return nil, "", false
}

// A search is one Find.
type search struct {
	fsys   fs.FS
	found  map[string]bool
	looked int
}

// below adds what matches the parts of a pattern in the directory dir.
func (s *search) below(dir string, parts []string, depth int) error {
	part, rest := parts[0], parts[1:]
	switch {
	case depth > maxDepth:
		return nil
	case part == "**" && len(rest) > 0:
		return s.anyDepth(dir, rest, depth)
	case !strings.ContainsAny(part, `*?[\`):
		return s.named(path.Join(dir, part), rest, depth)
	}
	entries, err := s.list(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if matched, err := path.Match(part, name); err != nil {
			return fmt.Errorf("%w: %w", ErrPattern, err)
		} else if !matched || strings.HasPrefix(name, ".") && !strings.HasPrefix(part, ".") {
			continue
		}
		if err := s.named(path.Join(dir, name), rest, depth); err != nil {
			return err
		}
	}
	return nil
}

// named goes on with a name if there is something under it.
func (s *search) named(name string, rest []string, depth int) error {
	info, err := fs.Stat(s.fsys, name)
	switch {
	case err != nil:
		return nil //nolint:nilerr // nothing that could be matched
	case len(rest) == 0:
		s.found[name] = true
		return nil
	case info.IsDir():
		return s.below(name, rest, depth+1)
	}
	return nil
}

// anyDepth goes on in a directory and in all directories below it.
func (s *search) anyDepth(dir string, rest []string, depth int) error {
	if err := s.below(dir, rest, depth); err != nil {
		return err
	}
	entries, err := s.list(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || depth >= maxDepth {
			continue
		}
		if err := s.anyDepth(path.Join(dir, entry.Name()), rest, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) list(dir string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.fsys, dir)
	if err != nil {
		return nil, nil //nolint:nilerr // nothing that could be matched
	}
	if s.looked += 1 + len(entries); s.looked > maxLooked {
		return nil, fmt.Errorf("%w: it looks at more than %d files", ErrPattern, maxLooked)
	}
	return entries, nil
}
