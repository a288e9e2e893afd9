package buildpack_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// yes is a buildpack that takes every app and tells when it builds.
func yes(id string) stagetest.Files {
	return component(id, "0.10", "exit 0", "echo building "+id)
}

func composite(id, groups string) stagetest.Files {
	return stagetest.Files{"buildpack.toml": "api = \"0.10\"\n[buildpack]\nid = \"" + id + "\"\nversion = \"1.0.0\"\n" + groups}
}

// groupsTOML writes an order: "a b?, c" is the group of a, and b if it likes, and then the group of c.
func groupsTOML(text string) string {
	var b strings.Builder
	for g := range strings.SplitSeq(text, ",") {
		b.WriteString("[[order]]\n")
		for _, id := range strings.Fields(g) {
			id, optional := strings.CutSuffix(id, "?")
			fmt.Fprintf(&b, "[[order.group]]\nid = %q\nversion = \"1.0.0\"\noptional = %v\n", id, optional)
		}
	}
	return b.String()
}

func built(log string) []string {
	var ids []string
	for line := range strings.Lines(log) {
		if id, ok := strings.CutPrefix(line, "building "); ok {
			ids = append(ids, strings.TrimSpace(id))
		}
	}
	return ids
}

func TestCNBGroups(t *testing.T) {
	no := component("no", "0.10", "echo not for me; exit 100", "exit 1")
	errs := component("errs", "0.10", "echo broken >&2; exit 3", "exit 1")
	needy := component("needy", "0.10", `printf '[[requires]]\nname = "gold"\n' >"$2"`, "exit 1")
	windows := yes("windows")
	windows["buildpack.toml"] += "[[targets]]\nos = \"windows\"\n"
	all := map[string]stagetest.Files{"no": no, "errs": errs, "needy": needy, "windows": windows, "a": yes("a"), "b": yes("b"),
		"both": composite("both", groupsTOML("no, a b?"))}
	for order, want := range map[string]struct {
		built string // empty means that none takes the app
		log   string // what it tells then, or besides
	}{
		"no, a":      {"a", ""},
		"no? a":      {"a", "1 of 2 buildpacks participating\na 1.0.0\n"},
		"errs? a":    {"a", "======== Output: errs@1.0.0 ========\nbroken\nerr:  errs@1.0.0: bin/detect exited with status 3\n"},
		"needy? a":   {"a", "1 of 2 buildpacks participating\n"},
		"b both":     {"b a", ""},
		"both b a":   {"a b", ""},
		"windows, b": {"b", "err:  windows@1.0.0: it is for [windows], and this is linux"},
		"no":         {"", "======== Output: no@1.0.0 ========\nnot for me\nfail: no@1.0.0\n"},
		"errs":       {"", "err:  errs@1.0.0: bin/detect exited with status 3\n"},
		"a needy":    {"", "pass: needy@1.0.0\nfail: needy requires \"gold\", which no buildpack up to it provides\n"},
	} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			dir := under(t, t.TempDir(), all)
			stagetest.Files{"order.toml": groupsTOML(order)}.Write(t, dir)
			s := newCNBStage(t, cnbApp, open(t, dir))
			if want.built == "" {
				s.fails(t, staging.NoAppDetected)
			} else {
				s.ok(t)
			}
			assert.Equal(t, want.built, strings.Join(built(s.log.String()), " "))
			assert.Contains(t, s.log.String(), want.log)
		})
	}
}

// A composite buildpack has its members below it, or beside it. Several buildpacks that a person names are one group.
func TestCNBDirectories(t *testing.T) {
	below := under(t, t.TempDir(), map[string]stagetest.Files{"": composite("m", groupsTOML("a b")), "a/1.0.0": yes("a"), "b": yes("b"), "c": yes("c")})
	beside := under(t, t.TempDir(), map[string]stagetest.Files{"m": composite("m", groupsTOML("a b")), "x": yes("a"), "y": yes("b"), "other": {"f": ""}})
	single := under(t, t.TempDir(), map[string]stagetest.Files{"": yes("a")})
	named, err := buildpack.NewCNBOrder([]string{filepath.Join(beside, "y"), filepath.Join(beside, "x")}, nil)
	require.NoError(t, err)
	composed, err := buildpack.Compose(open(t, filepath.Join(beside, "y")), open(t, filepath.Join(beside, "x")))
	require.NoError(t, err)
	classicOne, err := buildpack.NewClassic("", filepath.Join(beside, "other"))
	require.NoError(t, err)
	_, err = buildpack.Compose(composed, classicOne)
	assert.ErrorIs(t, err, buildpack.ErrMixed)
	chosen, err := buildpack.NewCNBOrder([]string{filepath.Join(beside, "x"), filepath.Join(beside, "y")}, [][]buildpack.CNBMember{
		{{ID: "b", Version: "1.0.0"}, {ID: "a", Optional: true}},
	})
	require.NoError(t, err)
	for _, test := range []struct {
		bp     buildpack.Buildpack
		built  string
		mounts []string
	}{
		{open(t, below), "a b", []string{below}},
		{open(t, filepath.Join(beside, "m")), "a b", []string{filepath.Join(beside, "m"), filepath.Join(beside, "x"), filepath.Join(beside, "y")}},
		{open(t, single), "a", []string{single}},
		{composed, "b a", []string{filepath.Join(beside, "x"), filepath.Join(beside, "y")}},
		{chosen, "b a", []string{filepath.Join(beside, "x"), filepath.Join(beside, "y")}},
		{named, "b a", []string{filepath.Join(beside, "x"), filepath.Join(beside, "y")}},
	} {
		var mounts []string
		for _, mount := range test.bp.Mounts() {
			mounts = append(mounts, mount.Src)
		}
		assert.ElementsMatch(t, test.mounts, mounts)
		s := newCNBStage(t, cnbApp, test.bp)
		s.ok(t)
		assert.Equal(t, test.built, strings.Join(built(s.log.String()), " "))
	}
	_, err = buildpack.NewCNBOrder([]string{filepath.Join(beside, "y"), below}, nil)
	assert.ErrorContains(t, err, "several with the id b")
	elsewhere := under(t, t.TempDir(), map[string]stagetest.Files{"only/m": composite("m", groupsTOML("a b"))})
	_, err = buildpack.NewCNB("", filepath.Join(elsewhere, "only/m"))
	assert.ErrorContains(t, err, "there is no a@1.0.0; put its directory below this one")
	_, err = buildpack.NewCNBOrder([]string{filepath.Join(elsewhere, "only/m"), filepath.Join(beside, "x"), filepath.Join(beside, "y")},
		[][]buildpack.CNBMember{{{ID: "m"}}})
	assert.NoError(t, err)
	_, err = buildpack.NewCNBOrder(nil, nil)
	assert.ErrorIs(t, err, buildpack.ErrNoMembers)
	_, err = buildpack.NewCNB("key", filepath.Join(beside, "m"))
	assert.ErrorContains(t, err, "there is no a@1.0.0", "an admin buildpack brings all that it needs")
}

func TestCNBRefused(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]stagetest.Files
		want  string
	}{
		"no file":         {map[string]stagetest.Files{"": {"x": ""}}, "neither buildpack.toml nor order.toml"},
		"old API":         {map[string]stagetest.Files{"": component("a", "0.6", "", "")}, "api: Buildpack API is not supported: 0.6 is not between 0.7 and 0.12"},
		"id":              {map[string]stagetest.Files{"": component("..", "0.10", "", "")}, "buildpack.id"},
		"missing":         {map[string]stagetest.Files{"": {"order.toml": groupsTOML("a b")}, "a": yes("a")}, "there is no b@1.0.0"},
		"missing inside":  {map[string]stagetest.Files{"": {"order.toml": groupsTOML("m")}, "m": composite("m", groupsTOML("b"))}, "there is no b@1.0.0"},
		"other version":   {map[string]stagetest.Files{"": {"order.toml": strings.ReplaceAll(groupsTOML("a"), "1.0.0", "2")}, "a": yes("a")}, "there is no version 2 of a, but 1.0.0"},
		"twice":           {map[string]stagetest.Files{"": {"order.toml": groupsTOML("a")}, "a": yes("a"), "b": yes("a")}, "there are several with the id a"},
		"order":           {map[string]stagetest.Files{"": {"order.toml": "[[order]]"}}, "order.group"},
		"TOML bomb":       {map[string]stagetest.Files{"": {"buildpack.toml": "a = " + strings.Repeat("[", 100_000)}}, "too large"},
		"file of a giant": {map[string]stagetest.Files{"": {"buildpack.toml": strings.Repeat("#", 2<<20)}}, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := buildpack.NewCNB("", under(t, t.TempDir(), test.files))
			assert.ErrorContains(t, err, test.want)
		})
	}
	dir := t.TempDir()
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "buildpack.toml")))
	_, err := buildpack.NewCNB("", dir)
	assert.Error(t, err)
	require.NoError(t, os.Symlink("/", filepath.Join(dir, "everything")))
	_, err = buildpack.Open("", dir)
	assert.ErrorIs(t, err, buildpack.ErrNoPrograms)
	_, err = buildpack.NewCNBOrder([]string{filepath.Join(dir, "none")}, nil)
	assert.Error(t, err)
}

// A buildpack that the user names is used without being asked, but for the plan: it cannot be used when it does not want to.
func TestCNBForced(t *testing.T) {
	s := newCNBStage(t, cnbApp)
	s.task.Custom = open(t, twoPacks(t))
	assert.Equal(t, "samples/runtime@1.0.0, samples/tool@1.0.0", withUser(s).ok(t).DetectedBuildpack)

	s = newCNBStage(t, cnbApp)
	s.task.Custom = open(t, under(t, t.TempDir(), map[string]stagetest.Files{"": component("no", "0.10", "exit 100", "")}))
	failed := s.fails(t, staging.NoAppDetected)
	assert.ErrorIs(t, failed, buildpack.ErrNotDetected)
	assert.ErrorContains(t, failed, "bin/detect: no group of buildpacks takes the app")
}

// What programs of different versions of the API find in their environment.
func TestCNBEnvironmentOfPrograms(t *testing.T) {
	for api, has := range map[string]string{"0.7": "", "0.8": "paths", "0.9": "paths", "0.10": "paths target", "0.11": "paths target", "0.12": "paths target exec"} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			bp := component("bp", api, `env -0 >detect.env; printf '%s\n' "$PWD" "$0" "$@" >detect.args`, `env -0 >build.env; printf '%s\n' "$PWD" "$0" "$@" >build.args`)
			dir := under(t, t.TempDir(), map[string]stagetest.Files{"": bp})
			s := newCNBStage(t, cnbApp, open(t, dir))
			s.task.Environment.User = []string{"MINE=1", "PATH=/mine", "a/b=left out", "LD_LIBRARY_PATH=/l"}
			s.ok(t)
			assert.Contains(t, s.log.String(), "The variable \"a/b\" is left out")
			members := stagetest.ReadTgz(t, s.droplet.Bytes())
			for _, program := range []string{"detect", "build"} {
				env := map[string]string{}
				for entry := range strings.SplitSeq(strings.TrimSuffix(members["./app/"+program+".env"], "\x00"), "\x00") {
					name, value, _ := strings.Cut(entry, "=")
					env[name] = value
				}
				for name, feature := range map[string]string{
					"CNB_PLATFORM_DIR": "paths", "CNB_TARGET_OS": "target", "CNB_TARGET_ARCH": "target", "CNB_EXEC_ENV": "exec",
					"CNB_BUILDPACK_DIR": "", "MINE": "", "HOME": "",
				} {
					assert.Equal(t, strings.Contains(has, feature), env[name] != "", name)
				}
				assert.True(t, strings.HasPrefix(env["PATH"], "/mine:/"), env["PATH"])
				assert.Equal(t, "/l", env["LD_LIBRARY_PATH"])
				for _, name := range []string{"VCAP_APPLICATION", "MINE", "STAGING_TIMEOUT"} {
					assert.NotEmpty(t, env[name], name)
				}
				args := strings.Split(strings.TrimSpace(members["./app/"+program+".args"]), "\n")
				want := []string{"/home/vcap/app", "/bin/" + program, env["CNB_PLATFORM_DIR"], env["CNB_BUILD_PLAN_PATH"]}
				if program == "build" {
					want = []string{"/home/vcap/app", "/bin/" + program, env["CNB_LAYERS_DIR"], env["CNB_PLATFORM_DIR"], env["CNB_BP_PLAN_PATH"]}
				}
				require.Len(t, args, len(want))
				for i, end := range want {
					assert.True(t, strings.HasSuffix(args[i], end), "%s: %s", args[i], end)
				}
			}
		})
	}

	clear := component("bp", "0.10", `test -z "$MINE" && test "$(cat "$1/env/MINE")" = 1`, `test -z "$MINE" && test "$(cat "$2/env/MINE")" = 1`)
	clear["buildpack.toml"] += "clear-env = true\n"
	s := newCNBStage(t, cnbApp, open(t, under(t, t.TempDir(), map[string]stagetest.Files{"": clear})))
	s.task.Environment.User = []string{"MINE=1"}
	s.ok(t)
}

// A dependency that the first provider did not provide is asked of the next.
func TestCNBUnmet(t *testing.T) {
	provider := func(id, build string) stagetest.Files {
		return component(id, "0.10", `printf '[[provides]]\nname = "x"\n' >"$2"`, `echo "`+id+` is asked for $(grep -c 'name = "x"' "$3")";`+build)
	}
	dir := under(t, t.TempDir(), map[string]stagetest.Files{
		"": {"order.toml": groupsTOML("a b c d")}, "a": provider("a", `printf '[[unmet]]\nname = "x"\n' >"$1/build.toml"`), "b": provider("b", ""), "c": provider("c", ""),
		"d": component("d", "0.10", `printf '[[requires]]\nname = "x"\n' >"$2"`, ""),
	})
	s := newCNBStage(t, cnbApp, open(t, dir))
	s.ok(t)
	for _, line := range []string{"a is asked for 1\n", "b is asked for 1\n", "c is asked for 0\n"} {
		assert.Contains(t, s.log.String(), line)
	}
}

// A layer for launch is used again when its buildpack says so, although it gets only the metadata back.
func TestCNBLayerUsedAgain(t *testing.T) {
	bp := component("bp", "0.10", "", `
		if grep -q 'version = 7' "$1/jre.toml" 2>/dev/null; then
			test ! -e "$1/jre"; echo same as before
		else
			mkdir -p "$1/jre/env.launch"; echo big >"$1/jre/file"; printf %s "$1/jre" >"$1/jre/env.launch/JAVA_HOME"
		fi
		printf '[types]\nlaunch = true\n[metadata]\nversion = 7\n' >"$1/jre.toml"
		printf '[[processes]]\ntype = "web"\ncommand = ["sh", "-c", "echo $JAVA_HOME; exec sleep 1000"]\n' >"$1/launch.toml"`)
	s := newCNBStage(t, cnbApp, open(t, under(t, t.TempDir(), map[string]stagetest.Files{"": bp})))
	s.ok(t)
	for range 2 { // also from a cache that was made of it
		s = s.again(t)
		result := s.ok(t)
		assert.Contains(t, s.log.String(), "same as before\nReusing layer jre of bp\n")
		assert.Equal(t, "big\n", stagetest.ReadTgz(t, s.droplet.Bytes())["./layers/bp/jre/file"])
		assert.Regexp(t, `/home/vcap/layers/bp/jre\n$`, runDroplet(t, s, result, ""))
	}
}

// Several that have to be fetched show only then that they are cloud native.
func TestCNBFetched(t *testing.T) {
	var named []buildpack.Buildpack
	for _, files := range []stagetest.Files{yes("b"), yes("a")} {
		source := buildpack.Source{Kind: buildpack.ArchiveFile, Location: stagetest.Save(t, files.Tgz(t))}
		bp, err := source.Open(t.TempDir(), buildpack.FetchOptions{})
		require.NoError(t, err)
		named = append(named, bp)
	}
	group, err := buildpack.Compose(named...)
	require.NoError(t, err)
	s := newCNBStage(t, cnbApp)
	s.task.Custom = group
	result := s.ok(t)
	assert.Equal(t, []string{"b", "a"}, built(s.log.String()))
	assert.Equal(t, "b@1.0.0, a@1.0.0", result.DetectedBuildpack)
	assert.Contains(t, stagetest.ReadTgz(t, s.droplet.Bytes()), "./layers/config/launch")
}

// What is wrong with a cache costs time, and no build.
func TestCNBBrokenCache(t *testing.T) {
	dir := twoPacks(t)
	for name, files := range map[string]stagetest.Files{
		"no TOML":      {"cnb/home.text": "/x", "cnb/samples_runtime/cached/greeter.toml": "= = =", "cnb/samples_runtime/cached/greeter/f": "", "cnb/samples_runtime/store.toml": "["},
		"no directory": {"cnb/home.text": "/x", "cnb/samples_runtime/cached/greeter.toml": "", "cnb/samples_runtime/cached/...toml": ""},
		"other kind":   {"final/x": "of another kind of buildpack", ".hidden": ""},
		"no home":      {"cnb/home.text/x": "", "cnb/samples_runtime/cached/greeter.toml": "", "cnb/samples_runtime/cached/greeter/f": ""},
		"links":        {"cnb/home.text": "/x", "cnb/samples_runtime/cached/greeter.toml": "", "cnb/samples_runtime/cached/greeter -> ../../../..": ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := withUser(newCNBStage(t, cnbApp, open(t, dir)))
			s.task.Cache = stagetest.Save(t, files.Tgz(t))
			s.ok(t)
			assert.Contains(t, s.log.String(), "---> installing greeter\n")
			kept := stagetest.ReadTgz(t, s.cache.Bytes())
			assert.Contains(t, kept, "./cnb/samples_runtime/cached/greeter/made")
			for name := range kept {
				assert.True(t, name == "./" || strings.HasPrefix(name, "./cnb/"), name)
			}
		})
	}
}

// A buildpack can be used for one staging after the other, and on several containers.
func TestCNBTwice(t *testing.T) {
	bp := open(t, twoPacks(t))
	s := withUser(newCNBStage(t, cnbApp, bp))
	first := s.ok(t)
	other := withUser(newCNBStage(t, cnbApp, bp))
	second := other.ok(t)
	assert.Equal(t, slices.Sorted(maps.Keys(first.ProcessTypes)), slices.Sorted(maps.Keys(second.ProcessTypes)))
	assert.Contains(t, other.log.String(), "installing")

	c := stagetest.Container(t, container.Spec{})
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	_, err = bp.Release(t.Context(), buildpack.Build{Container: c, Info: info, Root: bp.Root()})
	assert.ErrorContains(t, err, "before Compile")
}
