package globs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/framework/internal/globs"
)

func TestFind(t *testing.T) {
	fsys := fstest.MapFS{}
	for _, name := range []string{
		"b.rb", "a.rb", ".hidden.rb", "lib/c.rb", "lib/deep/d.rb", ".git/e.rb", "config.ru", "x.war",
		"config/environment.rb", "releases/1/app.rel", "releases/2/app.rel", "lib/play.2.0.jar",
	} {
		fsys[name] = &fstest.MapFile{}
	}
	for pattern, want := range map[string][]string{
		"*.rb":                   {"a.rb", "b.rb"},
		".*.rb":                  {".hidden.rb"},
		"**/*.rb":                {"a.rb", "b.rb", "config/environment.rb", "lib/c.rb", "lib/deep/d.rb"},
		"lib/**/d.rb":            {"lib/deep/d.rb"},
		"config.ru":              {"config.ru"},
		"config/environment.rb":  {"config/environment.rb"},
		"{*.war,config.ru,none}": {"config.ru", "x.war"},
		"{a,{b,lib/c}}.rb":       {"a.rb", "b.rb", "lib/c.rb"},
		"releases/*/*.rel":       {"releases/1/app.rel", "releases/2/app.rel"},
		"[ab].rb":                {"a.rb", "b.rb"},
		"[^a].rb":                {"b.rb"},
		"?.rb":                   {"a.rb", "b.rb"},
		"lib/play.*.jar":         {"lib/play.2.0.jar"},
		"lib":                    {"lib"},
		"**":                     {"a.rb", "b.rb", "config", "config.ru", "lib", "releases", "x.war"},
		"../*.rb":                {"a.rb", "b.rb"},
		"/a.rb":                  {"a.rb"},
		"a.rb/x":                 {},
		"none/*":                 {},
		"":                       {},
	} {
		got, err := globs.Find(fsys, pattern)
		require.NoError(t, err, pattern)
		assert.Equal(t, want, got, pattern)
	}
	for _, pattern := range []string{"[a", "{a", strings.Repeat("{a,b}", 10), strings.Repeat("a", 2000)} {
		_, err := globs.Find(fsys, pattern)
		require.ErrorIs(t, err, globs.ErrPattern, pattern)
	}
}

func TestFindStaysBelowTheRoot(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret.rb"), nil, 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
	require.NoError(t, os.Symlink(".", filepath.Join(dir, "circle")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.rb"), nil, 0o600))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	for pattern, want := range map[string][]string{
		"*/*.rb":  {"circle/a.rb"}, // as in Ruby, a link to a directory is one
		"out/*":   {},
		"**/*.rb": {"a.rb"},
	} {
		got, err := globs.Find(root.FS(), pattern)
		require.NoError(t, err)
		assert.Equal(t, want, got, pattern)
	}
}

func TestCostlyPatternEnds(t *testing.T) {
	fsys := fstest.MapFS{}
	for i := range 40 {
		fsys[strings.Repeat("d/", i)+"f"] = &fstest.MapFile{}
	}
	_, err := globs.Find(fsys, strings.Repeat("**/", 30)+"x")
	require.ErrorIs(t, err, globs.ErrPattern)
}

func FuzzFind(f *testing.F) {
	fsys := fstest.MapFS{"a/b/c.rb": {}, "a/.d": {}, "e.js": {}}
	for _, pattern := range []string{"*.js", "**/*.rb", "{a,b}/*", "[a-", "\\", "a/**"} {
		f.Add(pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		names, err := globs.Find(fsys, pattern)
		if err != nil {
			return
		}
		for _, name := range names {
			if _, err := fsys.Stat(name); err != nil {
				t.Errorf("%q finds %q, which is not there", pattern, name)
			}
		}
	})
}
