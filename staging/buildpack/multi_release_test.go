package buildpack_test

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/staging/buildpack"
)

func TestProcesses(t *testing.T) {
	writes := func(file, text string) string { return "cat >\"$3/$4/" + file + "\" <<'END'\n" + text + "\nEND\n" }
	for name, test := range map[string]struct {
		first, last, release, procfile string
		want                           map[string]string
		sidecars                       []droplet.Sidecar
	}{
		"release only": {"", "", "echo 'default_process_types: {web: r}'", "", map[string]string{"web": "r"}, nil},
		"launch.yml of the last silences release": {
			"processes: [{type: web, command: a}, {type: w, command: a}]", "processes: [{type: web, command: b}]", "echo 'default_process_types: {z: r}'; exit 9", "",
			map[string]string{"web": "b", "w": "a"}, nil},
		"release wins over launch.yml before it": {
			"processes: [{type: web, command: a}]", "", "echo 'default_process_types: {web: r}'", "", map[string]string{"web": "r"}, nil},
		"the Procfile wins": {
			"processes: [{type: web, command: a}]", "processes: []", "exit 9", "web: p\nextra: 1\n", map[string]string{"web": "p", "extra": "1"}, nil},
		"empty Procfile":   {"", "", "echo 'default_process_types: {web: r}'", "# nothing\n", map[string]string{"web": "r"}, nil},
		"nothing at all":   {"", "", "", "", map[string]string{}, nil},
		"empty launch.yml": {"", "# none", "exit 9", "", map[string]string{}, nil},
		"odd entries":      {"", "processes: [{type: a}, {command: b}, {type: c, command: null}, {type: d, command: 1}]\nother: x", "", "", map[string]string{"d": "1"}, nil},
		"sidecars": {
			"processes: [{type: web, command: a}, {type: z, command: old, limits: {memory: 1}, platforms: {cloudfoundry: {sidecar_for: [web]}}}]",
			"processes:\n- {type: z, command: new, limits: {memory: 64}, platforms: {cloudfoundry: {sidecar_for: [web, w]}}}\n- {type: b, command: c, platforms: {cloudfoundry: {sidecar_for: [w]}}}",
			"", "", map[string]string{"web": "a"},
			[]droplet.Sidecar{{Name: "b", ProcessTypes: []string{"w"}, Command: "c"}, {Name: "z", ProcessTypes: []string{"web", "w"}, Command: "new", MemoryMB: 64}}},
		"a Procfile makes no process of a sidecar": {
			"", "processes: [{type: s, command: beside, platforms: {cloudfoundry: {sidecar_for: [web]}}}]", "", "s: p", map[string]string{"s": "p"},
			[]droplet.Sidecar{{Name: "s", ProcessTypes: []string{"web"}, Command: "beside"}}},
		"a later buildpack makes one": {
			"processes: [{type: s, command: beside, platforms: {cloudfoundry: {sidecar_for: [web]}}}]", "processes: [{type: s, command: now}]", "", "", map[string]string{"s": "now"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			first, last := map[string]string{"supply": "exit 0"}, map[string]string{"finalize": "exit 0", "release": test.release}
			if test.first != "" {
				first["supply"] = writes("launch.yml", test.first)
			}
			if test.last != "" {
				last["finalize"] = writes("launch.yml", test.last)
			}
			if test.procfile != "" {
				last["finalize"] += "\ncat >\"$1/Procfile\" <<'END'\n" + test.procfile + "\nEND\n"
			}
			bp, err := buildpack.Compose(keyed(t, "first", first), keyed(t, "last", last))
			require.NoError(t, err)
			build, _, err := compile(t, bp)
			require.NoError(t, err)
			release, err := bp.Release(t.Context(), build)
			require.NoError(t, err)
			assert.Equal(t, test.want, release.ProcessTypes)
			assert.Equal(t, test.sidecars, release.Sidecars)
		})
	}
}

func TestReleaseOfMultiFails(t *testing.T) {
	launch := func(text string) map[string]string {
		return map[string]string{"supply": "cat >\"$3/$4/launch.yml\" <<'END'\n" + text + "\nEND", "finalize": "exit 0"}
	}
	for name, test := range map[string]struct {
		bodies map[string]string
		text   string
	}{
		"list":                {launch("[a]"), "deps/0/launch.yml cannot be used: it is no map"},
		"no YAML":             {launch("a: b: c"), "deps/0/launch.yml cannot be used: yaml"},
		"processes are a map": {launch("processes: {web: x}"), "processes is no list"},
		"process is a text":   {launch("processes: [x]"), "a process is no map"},
		"sidecar for a text":  {launch("processes: [{type: s, command: c, platforms: {cloudfoundry: {sidecar_for: web}}}]"), `process "s": platforms.cloudfoundry.sidecar_for is no list`},
		"memory is no number": {launch("processes: [{type: s, command: c, limits: {memory: 1G}}]"), `limits.memory "1G" is no number of megabytes`},
		"memory is negative":  {launch("processes: [{type: s, command: c, limits: {memory: -1}}]"), "no number of megabytes"},
		"nested":              {launch(strings.Repeat("[", 20000)), "deps/0/launch.yml cannot be used: yaml"},
		"bomb":                {launch("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nprocesses: [*b,*b,*b,*b]"), "a process is no map"},
		"gigantic":            {map[string]string{"supply": `truncate -s 3000000000 "$3/$4/launch.yml"`, "finalize": "exit 0"}, "more than 65536"},
		"a directory":         {map[string]string{"finalize": `mkdir "$3/$4/launch.yml"`}, "is not a regular file"},
		"a link to itself":    {map[string]string{"finalize": `ln -s launch.yml "$3/$4/launch.yml"`}, "too many symbolic links"},
		"release exits":       {map[string]string{"finalize": "exit 0", "release": "exit 8"}, "bin/release exited with status 8"},
		"release is no YAML":  {map[string]string{"finalize": "exit 0", "release": "echo 'a: b: c'"}, "its output is no YAML"},
		"Procfile is a list":  {map[string]string{"finalize": `echo '[x]' >"$1/Procfile"`}, "Invalid Procfile format"},
	} {
		t.Run(name, func(t *testing.T) {
			bp := keyed(t, "k", test.bodies)
			build, _, err := compile(t, bp)
			require.NoError(t, err)
			_, err = bp.Release(t.Context(), build)
			assert.ErrorContains(t, err, test.text)
			var failed *buildpack.ScriptError
			assert.True(t, errors.As(err, &failed) || errors.Is(err, buildpack.ErrProcfile))
		})
	}
}

func TestConfigs(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'j'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","))
	}
	for name, test := range map[string]struct {
		text string
		want buildpack.MemberConfig
		log  string
	}{
		"none":   {"", buildpack.MemberConfig{}, ""},
		"whole":  {"name: Ruby\nversion: 1.10\nconfig: {entrypoint_prefix: tini --}\noutput_metadata: {a: [1, 2.5, true, null, x], b: {c: .inf}, d: 2020-01-01}\nother: {}", buildpack.MemberConfig{Name: "Ruby", Version: "1.10", EntrypointPrefix: "tini --", OutputMetadata: map[string]any{"a": []any{1, 2.5, true, nil, "x"}, "b": map[string]any{"c": ".inf"}, "d": "2020-01-01"}}, ""},
		"odd":    {"name: [a]\nversion: null\nconfig: x\noutput_metadata: [1]", buildpack.MemberConfig{}, ""},
		"list":   {"[a, b]", buildpack.MemberConfig{}, "Warning: deps/0/config.yml cannot be used: it is no map\n"},
		"bomb":   {"name: Bomb\n" + bomb + "output_metadata: {x: *j}", buildpack.MemberConfig{Name: "Bomb"}, "output_metadata is too large"},
		"circle": {"name: Circle\noutput_metadata: &m {x: *m}", buildpack.MemberConfig{Name: "Circle"}, "output_metadata is too large"},
		"large":  {"name: " + strings.Repeat("x", 70000), buildpack.MemberConfig{}, "more than 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			files := programs(map[string]string{"finalize": `test ! -s "$(dirname "$0")/../config.yml" || cp "$(dirname "$0")/../config.yml" "$3/$4"`})
			files["config.yml"] = test.text
			bp, err := buildpack.Open("k", files.Dir(t))
			require.NoError(t, err)
			build, log := begin(t, bp)
			require.NoError(t, bp.Compile(t.Context(), build))
			configs, err := bp.(*buildpack.Multi).Configs(t.Context(), build)
			require.NoError(t, err)
			test.want.Key = "k"
			assert.Equal(t, []buildpack.MemberConfig{test.want}, configs)
			if test.log == "" {
				assert.Empty(t, log.String())
			}
			assert.Contains(t, log.String(), test.log)
		})
	}
}

// TestSupplyElsewhere shows what a buildpack can do that does not keep to its index: all of it stays in the container, and
// in the droplet.
func TestSupplyElsewhere(t *testing.T) {
	bad := keyed(t, "bad", map[string]string{"supply": `mkdir "$3/1/bin" "$3/7"; echo x >"$3/1/bin/tool"; echo "name: [" >"$3/7/config.yml"`})
	good := keyed(t, "good", map[string]string{"finalize": `cat "$3/1/bin/tool"; ls "$3"`})
	bp, err := buildpack.Compose(bad, good)
	require.NoError(t, err)
	build, log, err := compile(t, bp)
	require.NoError(t, err)
	assert.Equal(t, "x\n0\n1\n7\n", log)
	release, err := bp.Release(t.Context(), build)
	require.NoError(t, err)
	assert.Equal(t, []droplet.BuildpackInfo{{Key: "bad"}, {Key: "good"}}, release.Buildpacks)
	assert.Equal(t, "x\n", read(t, build, path.Join(build.Root, "deps/1/bin/tool")))
}

func TestHash(t *testing.T) {
	for name, want := range map[string]string{ // buildpackapplifecycle
		"ruby_buildpack": "2e00e59c1477fce4", "https://example.com/org/bp.git#v1.2": "a9e4dc2a7a086b38", "key18": "0ff104b1e4b45e8b",
	} {
		assert.Equal(t, want, buildpack.Hash(name), name)
	}
}
