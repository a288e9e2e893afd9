package buildpack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/buildpack"
)

// programs are the files of a buildpack by the bodies of its shell scripts.
func programs(bodies map[string]string) stagetest.Files {
	files := stagetest.Files{}
	for name, body := range bodies {
		files["bin/"+name] = "#!/bin/sh\n" + body + "\n"
	}
	return files
}

// keyed opens a buildpack of the given scripts.
func keyed(t testing.TB, key string, bodies map[string]string) buildpack.Buildpack {
	t.Helper()
	bp, err := buildpack.Open(key, programs(bodies).Dir(t))
	require.NoError(t, err)
	return bp
}

// tells is a script that prints its name and arguments, each path by its last two elements.
func tells(key string) string {
	return `printf '` + key + ` %s' "$(basename "$0")"; for a; do printf ' %s' "$(echo "$a" | rev | cut -d/ -f1-2 | rev)"; done; echo; `
}

// compile prepares and compiles, and returns what the programs printed.
func compile(t *testing.T, bp buildpack.Buildpack) (buildpack.Build, string, error) {
	t.Helper()
	build, log := begin(t, bp)
	require.NoError(t, bp.Prepare(t.Context(), build))
	err := bp.Compile(t.Context(), build)
	return build, log.String(), err
}

func read(t *testing.T, build buildpack.Build, name string) string {
	t.Helper()
	data, err := containerfs.ReadFile(t.Context(), build.Container, name, 1<<20)
	require.NoError(t, err)
	return string(data)
}

func TestOpenTellsTheKind(t *testing.T) {
	for name, test := range map[string]struct {
		scripts string
		multi   bool
	}{
		"classic":             {"detect compile release", false},
		"supply and compile":  {"detect supply compile release", false},
		"supply only":         {"supply", true},
		"finalize only":       {"detect finalize", true},
		"supply and finalize": {"detect supply finalize release", true},
		"all of them":         {"detect supply finalize compile release", true},
	} {
		t.Run(name, func(t *testing.T) {
			bodies := map[string]string{}
			for _, script := range strings.Fields(test.scripts) {
				bodies[script] = "exit 0"
			}
			bp := keyed(t, "k", bodies)
			_, multi := bp.(*buildpack.Multi)
			assert.Equal(t, test.multi, multi)
			assert.Equal(t, "k", bp.Key())
			assert.Equal(t, buildpack.StagedRoot, bp.Root())
		})
	}
}

// Buildpacks of the older kinds bring a buildpack.toml too: the registry of Heroku wants one (heroku/heroku-buildpack-python).
func TestOlderKindsMayHaveDescriptors(t *testing.T) {
	registry := "[buildpack]\nname = \"Python\"\n[publish.Ignore]\nfiles = [\".github/\"]\n"
	for scripts, want := range map[string]buildpack.Buildpack{
		"detect compile release":  &buildpack.Classic{},
		"detect supply finalize":  &buildpack.Multi{},
		"supply":                  &buildpack.Multi{},
		"detect compile finalize": &buildpack.Multi{},
	} {
		bodies := map[string]string{}
		for _, script := range strings.Fields(scripts) {
			bodies[script] = "exit 0"
		}
		files := programs(bodies)
		files["buildpack.toml"] = registry
		bp, err := buildpack.Open("k", files.Dir(t))
		if assert.NoError(t, err, scripts) {
			assert.IsType(t, want, bp, scripts)
		}
	}
	both := component("a/both", "0.10", "exit 0", "exit 0")
	both["bin/compile"] = "#!/bin/sh\n"
	bp, err := buildpack.Open("", both.Dir(t))
	require.NoError(t, err)
	assert.IsType(t, &buildpack.CNB{}, bp)
}

func TestOpenRefusesWhatIsNoBuildpack(t *testing.T) {
	for _, files := range []stagetest.Files{{"x": ""}, {"bin/detect": "", "bin/release": ""}, {"bp/bin/compile": ""}} {
		dir := files.Dir(t)
		_, err := buildpack.Open("k", dir)
		require.ErrorIs(t, err, buildpack.ErrNoPrograms)
		assert.ErrorContains(t, err, "buildpack "+dir+": it has no bin/compile, bin/finalize or buildpack.toml")
	}
}

func TestArgumentsAndIndexes(t *testing.T) {
	for _, n := range []int{1, 2, 9, 10, 11} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var members []buildpack.Buildpack
			digits := len(fmt.Sprint(n))
			var want strings.Builder
			for i := range n {
				key := fmt.Sprintf("bp%d", i)
				members = append(members, keyed(t, key, map[string]string{
					"supply": tells(key) + `echo "{name: ` + key + `}" >"$3/$4/config.yml"; echo "processes: [{type: ` + key + `, command: run}]" >"$3/$4/launch.yml"`, "finalize": tells(key),
				}))
				cache := buildpack.Hash(key)
				if i == n-1 {
					cache = "final"
				}
				fmt.Fprintf(&want, "%s supply staged/app cache/%s staged/deps %0*d\n", key, cache, digits, i)
			}
			fmt.Fprintf(&want, "bp%d finalize staged/app cache/final staged/deps %0*d staged/profile.d\n", n-1, digits, n-1)
			bp, err := buildpack.NewMulti(members...)
			require.NoError(t, err)
			build, log, err := compile(t, bp)
			require.NoError(t, err)
			assert.Equal(t, want.String(), log)
			release, err := bp.Release(t.Context(), build)
			require.NoError(t, err)
			assert.Len(t, release.ProcessTypes, n, "launch.yml is read where the buildpack was told to put it")
			assert.Len(t, release.Buildpacks, n)
			assert.Equal(t, fmt.Sprintf("bp%d", n-1), release.Name)
		})
	}
}

func TestDetectionOfOne(t *testing.T) {
	bp := keyed(t, "k", map[string]string{"detect": `test -f "$1/hello.txt" && echo Found`, "finalize": "exit 0"})
	build, _ := begin(t, bp)
	name, ok, err := bp.Detect(t.Context(), build)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "Found", name)

	no := keyed(t, "no", map[string]string{"detect": "exit 1", "supply": "exit 0", "finalize": "exit 0"})
	several, err := buildpack.Compose(no, bp)
	require.NoError(t, err)
	build, _ = begin(t, several)
	name, ok, err = several.Detect(t.Context(), build)
	require.NoError(t, err)
	assert.True(t, ok, "several were named by a person")
	assert.Empty(t, name)
}

func TestCompose(t *testing.T) {
	supplies := keyed(t, "supplies", map[string]string{"supply": "exit 0"})
	finalizes := keyed(t, "finalizes", map[string]string{"finalize": "exit 0"})
	old := keyed(t, "old", map[string]string{"compile": "exit 0"})

	alone, err := buildpack.Compose(old)
	require.NoError(t, err)
	assert.Same(t, old, alone)
	both, err := buildpack.Compose(supplies, finalizes)
	require.NoError(t, err)
	assert.Equal(t, "finalizes", both.Key())
	assert.Equal(t, finalizes.Path(), both.Path())
	assert.Len(t, both.Mounts(), 2)
	nested, err := buildpack.NewMulti(both, old)
	assert.ErrorIs(t, err, buildpack.ErrNoSupply, "finalizes has no bin/supply")
	assert.Nil(t, nested)
	three, err := buildpack.NewMulti(supplies, both)
	require.NoError(t, err)
	assert.Len(t, three.Members(), 3)

	for name, test := range map[string]struct {
		named []buildpack.Buildpack
		want  error
		text  string
	}{
		"none":                   {nil, buildpack.ErrNoMembers, "no buildpack is named"},
		"classic before another": {[]buildpack.Buildpack{old, finalizes}, buildpack.ErrNoSupply, "buildpack old (1 of 2): Error: one of the buildpacks chosen"},
		"one of another root":    {[]buildpack.Buildpack{supplies, rooted{finalizes}}, buildpack.ErrMixed, "buildpack finalizes: buildpacks of this kind"},
	} {
		t.Run(name, func(t *testing.T) {
			bp, err := buildpack.Compose(test.named...)
			assert.ErrorIs(t, err, test.want)
			assert.ErrorContains(t, err, test.text)
			assert.Nil(t, bp)
		})
	}
}

// rooted is a buildpack of a kind that wants the app elsewhere.
type rooted struct{ buildpack.Buildpack }

func (rooted) Root() string { return "/home/vcap" }

// TestMembersThatAreFetched composes what is there only when it has been prepared.
func TestMembersThatAreFetched(t *testing.T) {
	finalizes := keyed(t, "finalizes", map[string]string{"finalize": "exit 0"})
	archive := func(files stagetest.Files) buildpack.Buildpack {
		name := filepath.Join(t.TempDir(), "bp.zip")
		require.NoError(t, os.WriteFile(name, files.Zip(t), 0o600))
		source, err := buildpack.ParseSource(name)
		require.NoError(t, err)
		bp, err := source.Open(t.TempDir(), buildpack.FetchOptions{})
		require.NoError(t, err)
		return bp
	}
	repository := func(files stagetest.Files) buildpack.Buildpack {
		dir := t.TempDir()
		git(t, dir, "init", "-q")
		files.Write(t, dir)
		git(t, dir, "add", "-A")
		git(t, dir, "commit", "-qm", "x")
		bp, err := buildpack.NewGit("file://"+dir, t.TempDir(), localGit)
		require.NoError(t, err)
		return bp
	}
	first := archive(programs(map[string]string{"supply": tells("archive")}))
	last := repository(programs(map[string]string{"supply": tells("git"), "finalize": tells("git")}))
	bp, err := buildpack.Compose(first, last)
	require.NoError(t, err)
	_, log, err := compile(t, bp)
	require.NoError(t, err)
	assert.Contains(t, log, "archive supply staged/app cache/"+buildpack.Hash(first.Path())+" staged/deps 0\n"+
		"git supply staged/app cache/final staged/deps 1\ngit finalize staged/app cache/final staged/deps 1 staged/profile.d\n")

	bp, err = buildpack.Compose(archive(programs(map[string]string{"compile": "echo never"})), finalizes)
	require.NoError(t, err)
	_, log, err = compile(t, bp)
	assert.ErrorIs(t, err, buildpack.ErrNoSupply)
	assert.NotContains(t, log, "never")

	broken := archive(programs(map[string]string{"supply": "exit 0"}))
	require.NoError(t, os.Truncate(broken.Path(), 10))
	bp, err = buildpack.Compose(broken, finalizes)
	require.NoError(t, err)
	build, _ := begin(t, bp)
	assert.ErrorContains(t, bp.Prepare(t.Context(), build), "(1 of 2): ")
}

func TestClassicAsTheLast(t *testing.T) {
	supplies := keyed(t, "supplies", map[string]string{"supply": tells("supplies")})
	old := keyed(t, "old", map[string]string{"compile": tells("old") + `ls "$1/../deps"`, "release": "echo 'default_process_types: {web: old}'"})
	bp, err := buildpack.Compose(supplies, old)
	require.NoError(t, err)
	build, log, err := compile(t, bp)
	require.NoError(t, err)
	assert.Equal(t, "supplies supply staged/app cache/"+buildpack.Hash("supplies")+" staged/deps 0\n"+
		"Warning: the last buildpack is not compatible with multi-buildpack apps and cannot make use of any dependencies supplied by the buildpacks specified before it\n"+
		"old compile staged/app cache/final\n0\n", log)
	release, err := bp.Release(t.Context(), build)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"web": "old"}, release.ProcessTypes)
}

func TestMultiFails(t *testing.T) {
	supplies := map[string]string{"supply": "exit 0"}
	finalizes := map[string]string{"supply": "exit 0", "finalize": "exit 0"}
	for name, test := range map[string]struct {
		first, last map[string]string
		script      string
		status      container.ExitStatus
		final       bool
		text        string
	}{
		"supply":               {map[string]string{"supply": "exit 3"}, finalizes, "bin/supply", 3, false, "buildpack first (1 of 2): bin/supply exited with status 3"},
		"supply of the last":   {supplies, map[string]string{"supply": "exit 4", "finalize": "echo never"}, "bin/supply", 4, true, "buildpack last (2 of 2): bin/supply exited with status 4"},
		"finalize":             {supplies, map[string]string{"finalize": "kill -9 $$"}, "bin/finalize", 137, true, "bin/finalize exited with status 137"},
		"compile of the last":  {supplies, map[string]string{"compile": "exit 5"}, "bin/compile", 5, true, "bin/compile exited with status 5"},
		"last only supplies":   {map[string]string{"supply": "echo never"}, supplies, "bin/finalize", 0, true, "name one behind it that finalizes"},
		"deps becomes a link":  {map[string]string{"supply": `rm -rf "$3"; ln -s /etc "$3"`}, map[string]string{"finalize": "exit 0"}, "bin/finalize", 0, true, `"deps" was no directory any more`},
		"index becomes a link": {map[string]string{"supply": `rmdir "$3/0"; ln -s / "$3/0"`}, finalizes, "bin/finalize", 0, true, `"deps/0" was no directory any more`},
		"profile.d a file":     {supplies, map[string]string{"finalize": `rmdir "$5"; echo x >"$5"`}, "bin/finalize", 0, true, `"profile.d" was no directory any more`},
	} {
		t.Run(name, func(t *testing.T) {
			bp, err := buildpack.Compose(keyed(t, "first", test.first), keyed(t, "last", test.last))
			require.NoError(t, err)
			_, log, err := compile(t, bp)
			var member *buildpack.MemberError
			require.ErrorAs(t, err, &member)
			assert.Equal(t, test.final, member.Final())
			var failed *buildpack.ScriptError
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, test.script, failed.Script)
			assert.Equal(t, test.status, failed.Status)
			assert.ErrorContains(t, err, test.text)
			assert.NotContains(t, log, "never")
		})
	}
	t.Run("not executable", func(t *testing.T) {
		files := programs(finalizes)
		files["data/supply"] = "#!/bin/sh\n"
		delete(files, "bin/supply")
		files["bin/supply -> ../data/supply"] = "" // mode 0640
		bp, err := buildpack.Open("k", files.Dir(t))
		require.NoError(t, err)
		_, _, err = compile(t, bp)
		var failed *buildpack.ScriptError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, "bin/supply", failed.Script)
		assert.ErrorContains(t, err, "permission denied")
	})
}

func TestCacheOfMulti(t *testing.T) {
	keeps := `ls -A "$2"; echo kept >"$2/file"`
	bp, err := buildpack.Compose(keyed(t, "a", map[string]string{"supply": keeps}), keyed(t, "b", map[string]string{"finalize": keeps}))
	require.NoError(t, err)
	build, log := begin(t, bp)
	process, err := build.Container.Run(t.Context(), container.ProcessSpec{Path: "sh", Dir: "/tmp/cache", Args: []string{"-c",
		`mkdir vendor .hidden ..odd ` + buildpack.Hash("other") + `; echo x >vendor/x; touch "-rf" 'a b'; ln -s /etc final; echo z >` + buildpack.Hash("a")}}, container.IO{})
	require.NoError(t, err)
	_, err = process.Wait(t.Context())
	require.NoError(t, err)

	require.NoError(t, bp.Compile(t.Context(), build))
	assert.Empty(t, log.String())
	assert.ElementsMatch(t, []string{"final/", "final/file", buildpack.Hash("a") + "/", buildpack.Hash("a") + "/file"}, names(t, build, "/tmp/cache"))
	require.NoError(t, bp.Compile(t.Context(), build))
	assert.Equal(t, "file\nfile\n", log.String(), "each finds what it left")
}

// names lists what is below a directory of the container.
func names(t *testing.T, build buildpack.Build, dir string) []string {
	t.Helper()
	members := stagetest.ReadTar(t, build.Container, dir+"/")
	var found []string
	for name := range members {
		if name != "./" {
			found = append(found, strings.TrimPrefix(name, "./"))
		}
	}
	return found
}
