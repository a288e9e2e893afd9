package cnb

import (
	"path"
	"slices"
	"strings"
)

// A Tree is what is known of the directory that the layers of one buildpack are in, by name from there: "node/env/PATH".
type Tree map[string]Node

// A Node is a file or a directory.
type Node struct {
	Dir  bool // a directory, or a link to one
	Link bool
	Text []byte // of files that matter
}

// Dir tells whether name is a directory, and no link.
func (t Tree) Dir(name string) bool { return t[name].Dir && !t[name].Link }

// Names returns what is in a directory, sorted; "." is the one of the buildpack.
func (t Tree) Names(dir string) []string {
	var names []string
	for name := range t {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// files returns the files in a directory by name. Directories are left out, links to them too.
func (t Tree) files(dir string) map[string]string {
	files := map[string]string{}
	for name, node := range t {
		if path.Dir(name) == dir && !node.Dir {
			files[path.Base(name)] = string(node.Text)
		}
	}
	return files
}

// programs returns the paths of what is in a directory and no directory itself, sorted.
func (t Tree) programs(dir string) []string {
	var found []string
	for _, name := range t.Names(dir) {
		if node := t[path.Join(dir, name)]; !node.Dir || node.Link {
			found = append(found, path.Join(dir, name))
		}
	}
	return found
}

// EnvFiles returns the names of all files that make up the environment of layers.
func (t Tree) EnvFiles() []string {
	var found []string
	for name, node := range t {
		parts := strings.Split(name, "/")
		if len(parts) > 2 && !node.Dir && !node.Link && (parts[1] == "env" || strings.HasPrefix(parts[1], "env.")) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// BuildChanges returns what a build layer does to the environment of later buildpacks. dir is its path.
func (t Tree) BuildChanges(dir, layer string) ([]Change, error) {
	has := func(sub string) bool { _, ok := t[path.Join(layer, sub)]; return ok }
	changes := rootChanges(dir, has, false)
	for _, sub := range []string{"env", "env.build"} {
		more, err := Changes(path.Join(dir, sub), t.files(path.Join(layer, sub)), Override)
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	return changes, nil
}
