package memory

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/deakit/deakit/container"
)

// Files are the files of a container: directories, regular files and links. A path is one of the container; a relative one
// starts at container.AppHome. Symbolic links are kept, and not followed. Nothing asks for permissions. Errors are
// *fs.PathError of the usual kinds. The methods may be called from several goroutines at once.
type Files struct {
	mu    sync.Mutex
	nodes map[string]*node // by clean absolute path; the directory of each is there too
}

// A node is a file, a directory or a link. Bytes of a file are never changed in place: they are replaced, or more follow.
type node struct {
	mode    fs.FileMode // kind and permissions
	modTime time.Time
	data    []byte
	target  string // of a symbolic link
}

func newFiles() *Files {
	f := &Files{nodes: map[string]*node{"/": {mode: fs.ModeDir | 0o755}}}
	_, _ = f.Mkdir(container.AppHome), f.Mkdir("/tmp") // nothing is in the way
	return f
}

func clean(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(container.AppHome, p)
}

// ReadFile returns the content of a file.
func (f *Files) ReadFile(p string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[clean(p)]
	if n == nil {
		return nil, &fs.PathError{Op: "read", Path: p, Err: syscall.ENOENT}
	}
	if !n.mode.IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: p, Err: syscall.EISDIR}
	}
	return slices.Clone(n.data), nil
}

// WriteFile writes a file, and makes the directories above it as far as they are missing.
func (f *Files) WriteFile(p string, data []byte, perm fs.FileMode) error {
	return f.put("write", p, &node{mode: perm.Perm(), data: slices.Clone(data)})
}

// Append adds to the end of a file, which is made if need be, as by WriteFile with permissions 0644.
func (f *Files) Append(p string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[clean(p)]; n != nil && n.mode.IsRegular() {
		n.data, n.modTime = append(n.data, data...), time.Now()
		return nil
	}
	return f.putLocked("write", p, &node{mode: 0o644, data: slices.Clone(data)})
}

// Mkdir makes a directory and those above it, as far as they are missing.
func (f *Files) Mkdir(p string) error { return f.put("mkdir", p, &node{mode: fs.ModeDir | 0o755}) }

// Symlink makes a symbolic link at p.
func (f *Files) Symlink(target, p string) error {
	return f.put("symlink", p, &node{mode: fs.ModeSymlink | 0o777, target: target})
}

// Remove removes what stands at p, a directory with all that is in it. If there is nothing, nothing happens.
func (f *Files) Remove(p string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.under(clean(p)) {
		delete(f.nodes, name)
	}
}

// List returns the paths of what stands at p and of all below it, sorted; none if there is nothing.
func (f *Files) List(p string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.under(clean(p))
}

func (f *Files) under(p string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.nodes)), func(name string) bool {
		return name != p && !strings.HasPrefix(name, strings.TrimSuffix(p, "/")+"/")
	})
}

// put makes something at p in place of what was there, and the directories above it. A directory gives way to nothing, and
// stays one.
func (f *Files) put(op, p string, n *node) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.putLocked(op, p, n)
}

func (f *Files) putLocked(op, p string, n *node) error {
	name := clean(p)
	if old := f.nodes[name]; old != nil && old.mode.IsDir() {
		if n.mode.IsDir() {
			return nil
		}
		return &fs.PathError{Op: op, Path: p, Err: syscall.EISDIR}
	}
	missing := []string{name}
	dir := path.Dir(name)
	for ; f.nodes[dir] == nil; dir = path.Dir(dir) {
		missing = append(missing, dir)
	}
	if !f.nodes[dir].mode.IsDir() {
		return &fs.PathError{Op: op, Path: p, Err: syscall.ENOTDIR}
	}
	for _, dir := range missing {
		f.nodes[dir] = &node{mode: fs.ModeDir | 0o755, modTime: time.Now()}
	}
	if n.modTime.IsZero() {
		n.modTime = time.Now()
	}
	f.nodes[name] = n
	return nil
}

func (f *Files) isDir(p string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[clean(p)]
	return n != nil && n.mode.IsDir()
}

// size adds up the bytes of all files, those of one with several names once.
func (f *Files) size() (sum int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[*node]bool{}
	for _, n := range f.nodes {
		if len(n.data) > 0 && !seen[n] {
			seen[n] = true
			sum += int64(len(n.data))
		}
	}
	return sum
}
