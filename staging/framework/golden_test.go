package framework_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/framework"
)

var update = flag.Bool("update", false, "write what is made into the golden files")

// A section is a part of a golden file: "-- name --" and the lines below it. Sections that begin with
//
//	properties         are those of the request
//	options            has the word original, or nothing
//	app/, resources/, gems/   are files; "name 755" has a mode, "name -> target" is a link
//	want/tree, want/log, want/programs, want/error    are what comes of it
//	want/x             is the file x of the droplet
type section struct{ name, text string }

func readGolden(t *testing.T, file string) []section {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var all []section
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(name, " --\n") {
			all = append(all, section{name: strings.TrimSuffix(name, " --\n")})
			continue
		}
		require.NotEmpty(t, all, "%s begins with a section", file)
		all[len(all)-1].text += line
	}
	return all
}

func get(all []section, name string) string {
	for _, s := range all {
		if s.name == name {
			return s.text
		}
	}
	return ""
}

// put writes the sections of a kind below a directory, with modes that do not depend on the umask.
func put(t *testing.T, all []section, kind, dir string) (any bool) {
	t.Helper()
	for _, s := range all {
		name, ok := strings.CutPrefix(s.name, kind+"/")
		if !ok {
			continue
		}
		any = true
		link, target, isLink := strings.Cut(name, " -> ")
		mode := fs.FileMode(0o640)
		if before, ok := strings.CutSuffix(name, " 755"); ok {
			name, mode = before, 0o755
		}
		for above := filepath.Dir(name); above != "."; above = filepath.Dir(above) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, above), 0o755))
			require.NoError(t, os.Chmod(filepath.Join(dir, above), 0o755))
		}
		if isLink {
			require.NoError(t, os.Symlink(target, filepath.Join(dir, link)))
			continue
		}
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(s.text), mode))
		require.NoError(t, os.Chmod(file, mode))
	}
	return any
}

// made is what came of a staging.
type made struct {
	dir      string
	log      string
	programs []framework.Program
	err      error
}

func stageGolden(t *testing.T, all []section) made {
	t.Helper()
	properties, err := framework.ParseProperties([]byte(get(all, "properties")))
	require.NoError(t, err)
	plugin, err := framework.Find(properties.Framework)
	require.NoError(t, err)
	source, dest, resources, gems := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	put(t, all, "app", source)
	var log bytes.Buffer
	opts := framework.Options{Original: strings.Contains(get(all, "options"), "original"), Log: &log}
	if put(t, all, "resources", resources) {
		opts.Resources = resources
	}
	if put(t, all, "gems", gems) {
		opts.Gems = gems
	}
	before := listing(t, source)
	result, err := framework.Stage(t.Context(), plugin, framework.Task{Source: source, Dest: dest, Properties: properties}, opts)
	assert.Equal(t, before, listing(t, source), "the source stays as it is")
	inTree, readErr := os.ReadFile(filepath.Join(dest, "logs/staging.log"))
	require.NoError(t, readErr)
	assert.Equal(t, log.String(), string(inTree), "the log in the droplet is that which people see")
	return made{dest, log.String(), result.Programs, err}
}

// listing has a line for each file below a directory.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			lines = append(lines, fmt.Sprintf("link %s -> %s", name, target))
			return err
		case entry.IsDir():
			name += "/"
		}
		lines = append(lines, fmt.Sprintf("%04o %s", info.Mode().Perm(), name))
		return nil
	}))
	slices.Sort(lines)
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(a[5:], b[5:]) })
	return strings.Join(lines, "\n") + "\n"
}

var drawn = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// shown is what a golden file says of a staging.
func (m made) shown(t *testing.T, want []section) []section {
	t.Helper()
	var all []section
	if m.err != nil {
		var wrong *framework.AppError
		require.ErrorAs(t, m.err, &wrong)
		return append(all, section{"want/error", m.err.Error() + "\n"})
	}
	all = append(all, section{"want/tree", listing(t, m.dir)})
	read := func(name string) {
		content, err := os.ReadFile(filepath.Join(m.dir, name))
		require.NoError(t, err)
		all = append(all, section{"want/" + name, drawn.ReplaceAllString(string(content), "UUID")})
	}
	read("startup")
	read("stop")
	for _, s := range want {
		name, ok := strings.CutPrefix(s.name, "want/")
		if ok && !slices.Contains([]string{"tree", "startup", "stop", "log", "programs", "error"}, name) {
			read(name)
		}
	}
	if m.log != "" {
		all = append(all, section{"want/log", m.log})
	}
	if len(m.programs) > 0 {
		var b strings.Builder
		for _, p := range m.programs {
			fmt.Fprintf(&b, "in %s:\n%s\nfailure: %q\n", p.Dir, p.Script, p.Failure)
		}
		all = append(all, section{"want/programs", b.String()})
	}
	return all
}

func TestGoldenDroplets(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			all := readGolden(t, file)
			properties, err := framework.ParseProperties([]byte(get(all, "properties")))
			require.NoError(t, err)
			seen[properties.Framework] = true
			got := stageGolden(t, all).shown(t, all)
			given := slices.DeleteFunc(slices.Clone(all), func(s section) bool { return strings.HasPrefix(s.name, "want/") })
			if *update {
				var b strings.Builder
				for _, s := range append(given, got...) {
					fmt.Fprintf(&b, "-- %s --\n%s", s.name, s.text)
				}
				require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
			}
			assert.Equal(t, slices.DeleteFunc(all, func(s section) bool { return !strings.HasPrefix(s.name, "want/") }), got)
		})
	}
	for _, plugin := range framework.Plugins() {
		assert.True(t, seen[plugin.Name()], "there is a golden droplet of %s", plugin.Name())
	}
}
