package cfignore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Name is that of the file with the patterns, at the top of the source.
const Name = ".cfignore"

// defaults are left out of every app (cf CLI) unless a line of .cfignore with "!" takes them all the same. Manifests further
// down belong to the app.
var defaults = []string{
	Name, "/manifest.yml", "/manifest.yaml", ".gitignore", ".git", ".hg", ".svn", "_darcs", ".DS_Store",
}

const (
	maxBytes = 1 << 20 // of .cfignore
	maxLines = 10_000
)

// ErrMalformed: .cfignore has a line that is no pattern, or is too large, or no file.
var ErrMalformed = errors.New(Name + " cannot be used")

// Rules are patterns in their order. The zero value leaves nothing out.
type Rules struct {
	patterns  []pattern
	backAgain bool // whether one of them takes what others leave out
}

// A pattern is one line.
type pattern struct {
	parts []string // between slashes; "**" stands for any number of them
	dirs  bool     // it is about directories only
	take  bool     // it takes what earlier ones leave out
}

// Read returns the rules for the source below root: the defaults, and the lines of .cfignore if there is one. It fails with
// ErrMalformed, or with the error of the file system.
func Read(root *os.Root) (*Rules, error) {
	file, err := root.OpenFile(Name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO is refused below
	if errors.Is(err, fs.ErrNotExist) {
		return Parse("")
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no file", ErrMalformed)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return nil, err
	}
	return Parse(string(text))
}

// Parse returns the rules of the defaults and of the text of a .cfignore. It fails with ErrMalformed.
func Parse(text string) (*Rules, error) {
	lines := strings.Split(text, "\n")
	if len(text) > maxBytes || len(lines) > maxLines {
		return nil, fmt.Errorf("%w: it has more than %d bytes or %d lines", ErrMalformed, maxBytes, maxLines)
	}
	r := &Rules{}
	for _, line := range defaults {
		r.add(line)
	}
	for i, line := range lines {
		if !r.add(line) {
			return nil, fmt.Errorf("%w: line %d is no pattern: %.100q", ErrMalformed, i+1, line)
		}
	}
	return r, nil
}

// add adds a line, and tells whether it could be understood.
func (r *Rules) add(line string) bool {
	line = trimmed(line)
	if line == "" || line[0] == '#' {
		return true
	}
	var p pattern
	line, p.take = strings.CutPrefix(line, "!")
	line, p.dirs = strings.CutSuffix(line, "/")
	if !strings.Contains(line, "/") {
		p.parts = []string{"**"} // anywhere
	}
	for part := range strings.SplitSeq(line, "/") {
		if part == "" || part == "." {
			continue
		}
		part = strings.ReplaceAll(part, "[!", "[^") // as package path writes it
		if _, err := path.Match(part, ""); err != nil {
			return false
		}
		p.parts = append(p.parts, part)
	}
	if strings.Trim(line, "/.") == "" {
		return true // it names nothing
	}
	if p.parts[len(p.parts)-1] == "**" {
		p.parts = append(p.parts, "*") // what is below, and not the directory itself
	}
	r.patterns = append(r.patterns, p)
	r.backAgain = r.backAgain || p.take
	return true
}

// trimmed is a line without blanks at its end, but for one behind a backslash.
func trimmed(line string) string {
	text := strings.TrimRight(line, " \t\r")
	if strings.HasSuffix(text, `\`) && len(text) < len(line) {
		text += " "
	}
	return text
}

// Exclude tells whether a file or directory stays behind, by its path below the top of the source ("a/b"). prune says of a
// directory that the same is true of all below it. It fits droplet.PackOptions and staging.Task.
func (r *Rules) Exclude(name string, dir bool) (exclude, prune bool) {
	parts := strings.Split(name, "/")
	for _, p := range slices.Backward(r.patterns) {
		if p.fits(parts, dir) {
			return !p.take, !p.take && !r.backAgain
		}
	}
	return false, false
}

// fits tells whether the pattern is that of a path or of a directory above it.
func (p pattern) fits(parts []string, dir bool) bool {
	for end := 1; end <= len(parts); end++ {
		if p.dirs && end == len(parts) && !dir {
			return false
		}
		if match(p.parts, parts[:end]) {
			return true
		}
	}
	return false
}

// match compares part by part. Of a "**" it tries ever more parts; going back to the last one is enough.
func match(pattern, name []string) bool {
	p, n, last, tried := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			last, tried = p, n
			p++
		case p < len(pattern) && matchPart(pattern[p], name[n]):
			p++
			n++
		case last >= 0:
			tried++
			p, n = last+1, tried
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}

func matchPart(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil // which Parse has seen to
}
