package cfignore_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/cfignore"
)

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		text     string
		out, in  []string // a slash at the end stands for a directory
		comments string
	}{
		{"", []string{".git/", ".git/HEAD", "sub/.git/", "a/.gitignore", ".cfignore", "manifest.yml", "manifest.yaml", ".hg/", ".svn/x", "_darcs/", "a/b/.DS_Store"},
			[]string{"a", "git", ".github/", "sub/manifest.yml", ".bzr/"}, "what is always left out"},
		{"*.log", []string{"x.log", "a/b/x.log", "x.log/", "x.log/inside"}, []string{"x.logs", "log"}, "anywhere"},
		{"/tmp", []string{"tmp/", "tmp", "tmp/a/b"}, []string{"a/tmp"}, "at the top"},
		{"a/b", []string{"a/b", "a/b/c"}, []string{"x/a/b", "a", "b"}, "a slash in the middle"},
		{"node_modules/", []string{"node_modules/", "x/node_modules/", "node_modules/y"}, []string{"node_modules", "x/node_modules"}, "directories"},
		{"docs/**/*.pdf", []string{"docs/a.pdf", "docs/a/b/c.pdf"}, []string{"a.pdf", "docs/a.txt", "x/docs/a.pdf"}, "any number"},
		{"**/x/y", []string{"x/y", "a/x/y", "a/b/x/y/z"}, []string{"x", "a/x/z/y"}, "any number in front"},
		{"a/**", []string{"a/x", "a/x/y"}, []string{"a/", "b/a/x"}, "below"},
		{"a/**/b/**/c", []string{"a/b/c", "a/1/b/2/3/c", "a/b/b/x/c"}, []string{"a/c", "a/b"}, "twice"},
		{"x?[a-c][!d]", []string{"x1ae"}, []string{"x1ad", "x1de", "x/ae"}, "classes"},
		{"*.log\n!keep.log", []string{"x.log"}, []string{"keep.log", "a/keep.log"}, "taken again"},
		{"!keep.log\n*.log", []string{"keep.log"}, nil, "the last line counts"},
		{"*\n!dist/**", []string{"x", "src/a"}, []string{"dist/a", "dist/a/b"}, "from a directory that is left out"},
		{"!.git", nil, []string{".git/", ".git/HEAD"}, "what is left out as a rule"},
		{"# *.a\n\\#x\n\\!y\n", []string{"#x", "!y"}, []string{"x.a", "# *.a"}, "comments"},
		{"a  \r\nb\\ \n\t\n", []string{"a", "b "}, []string{"b"}, "blanks"},
		{"/\n!\n./\n!/\n", nil, []string{"a", "a/"}, "nothing"},
		{"**", []string{"a", "a/b"}, nil, "all"},
		{"a**b", []string{"ab", "axxb"}, []string{"a/b"}, "two stars within a name are one"},
		{strings.Repeat("**/a/", 200) + "b", nil, []string{strings.Repeat("a/", 1000) + "c"}, "costly to find out"},
	} {
		rules, err := cfignore.Parse(test.text)
		require.NoError(t, err, test.comments)
		check := func(names []string, want bool) {
			for _, name := range names {
				plain, dir := strings.CutSuffix(name, "/")
				excluded, prune := rules.Exclude(plain, dir)
				assert.Equal(t, want, excluded, "%s: %q and %s", test.comments, test.text, name)
				assert.True(t, excluded || !prune)
				assert.False(t, prune && strings.Contains(test.text, "\n!k"), "what is below may be taken again")
			}
		}
		check(test.out, true)
		check(test.in, false)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	rules, err := cfignore.Read(root)
	require.NoError(t, err)
	excluded, prune := rules.Exclude(".git", true)
	assert.True(t, excluded && prune)

	name := filepath.Join(dir, cfignore.Name)
	require.NoError(t, os.WriteFile(name, []byte("x\n"), 0o600))
	rules, err = cfignore.Read(root)
	require.NoError(t, err)
	excluded, _ = rules.Exclude("a/x", false)
	assert.True(t, excluded)

	for _, bad := range []string{"x\na[\n", strings.Repeat("x", 1<<20+1), strings.Repeat("\n", 20_000)} {
		require.NoError(t, os.WriteFile(name, []byte(bad), 0o600))
		_, err = cfignore.Read(root)
		assert.ErrorIs(t, err, cfignore.ErrMalformed)
	}
	for _, in := range []func() error{
		func() error { return syscall.Mkfifo(name, 0o600) },
		func() error { return os.Mkdir(name, 0o700) },
	} {
		require.NoError(t, os.Remove(name))
		require.NoError(t, in())
		_, err = cfignore.Read(root)
		assert.ErrorIs(t, err, cfignore.ErrMalformed)
	}
	require.NoError(t, os.Remove(name))
	require.NoError(t, os.Symlink("/etc/passwd", name))
	_, err = cfignore.Read(root)
	assert.Error(t, err, "it leads out of the source")
}

func FuzzParse(f *testing.F) {
	f.Add("a/**\n!b/\n[x]", "a/b")
	f.Fuzz(func(t *testing.T, text, name string) {
		rules, err := cfignore.Parse(text)
		if err != nil {
			assert.ErrorIs(t, err, cfignore.ErrMalformed)
			return
		}
		_, prune := rules.Exclude(name, true)
		if prune {
			below, _ := rules.Exclude(name+"/x", false)
			assert.True(t, below, "what is pruned is left out")
		}
	})
}
