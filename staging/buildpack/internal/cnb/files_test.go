package cnb_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

func TestAPI(t *testing.T) {
	for _, text := range []string{"0.7", "0.8", "0.9", "0.10", "0.11", "0.12"} {
		api, err := cnb.ParseAPI(text)
		require.NoError(t, err)
		assert.Equal(t, text, api.String())
	}
	for _, text := range []string{"", "0.6", "0.13", "1", "1.0", "0", "x", "0.1x", "-0.8", "0.8.1", strings.Repeat("9", 100)} {
		_, err := cnb.ParseAPI(text)
		assert.ErrorIs(t, err, cnb.ErrAPI, text)
	}
}

func TestDescriptor(t *testing.T) {
	d, err := cnb.ParseDescriptor("buildpack.toml", []byte(`
api = "0.12"
[buildpack]
id = "samples/hello"
version = "1.2.3"
name = "Hello"
homepage = "https://example.com"
clear-env = true
exec-env = ["test", "production"]
[[targets]]
os = "linux"
arch = "arm64"
variant = "v8"
[[targets.distros]]
name = "ubuntu"
version = "24.04"
[metadata]
free = [1, {a = "b"}]
`), true)
	require.NoError(t, err)
	assert.Equal(t, &cnb.Descriptor{
		API: cnb.API{Minor: 12}, ID: "samples/hello", Version: "1.2.3", Name: "Hello", Homepage: "https://example.com", ClearEnv: true,
		ExecEnv: []string{"test", "production"},
		Targets: []cnb.Target{{OS: "linux", Arch: "arm64", Variant: "v8", Distros: []cnb.Distro{{Name: "ubuntu", Version: "24.04"}}}},
	}, d)
	assert.Equal(t, "samples_hello", cnb.Escape(d.ID))

	d, err = cnb.ParseDescriptor("buildpack.toml", []byte(`
api = "0.8"
buildpack = {id = "a", version = "1"}
[[order]]
[[order.group]]
id = "b"
version = "1.0.0"
optional = true
exec-env = ["test"]
[[order.group]]
id = "c"
version = "2"
[[order]]
group = [{id = "d"}]
`), false)
	require.NoError(t, err)
	assert.True(t, d.Composite())
	assert.Equal(t, cnb.Order{
		{{ID: "b", Version: "1.0.0", Optional: true, ExecEnv: []string{"test"}}, {ID: "c", Version: "2"}}, {{ID: "d"}},
	}, d.Order)
	assert.Empty(t, d.Targets)
}

func TestTargets(t *testing.T) {
	base := cnb.Target{OS: "linux", Arch: "amd64", Distros: []cnb.Distro{{Name: "debian", Version: "12"}}}
	for text, fits := range map[string]bool{
		"":                                 true,
		"[[targets]]\nos = 'windows'":      false,
		"[[targets]]\nos = 'linux'":        true,
		"[[targets]]\narch = 'arm64'":      false,
		"[[targets]]\narch = 'amd64'":      true,
		"[[targets]]\narch-variant = 'v8'": true, // the base has none
		"[[targets]]\nos = 'windows'\n[[targets]]\nos = 'linux'":                                  true,
		"[[targets]]\n[[targets.distros]]\nname = 'debian'\nversion = '12'":                       true,
		"[[targets]]\n[[targets.distros]]\nname = 'debian'\nversion = '11'":                       false,
		"[[targets]]\n[[targets.distros]]\nname = 'ubuntu'\n[[targets.distros]]\nname = 'debian'": true,
		"[[stacks]]\nid = '*'":                            true,
		"[[stacks]]\nid = 'io.buildpacks.stacks.bionic'":  false,
		"[[stacks]]\nid = 'io.buildpacks.stacks.unknown'": true, // for Linux, as it has bin/build
	} {
		d, err := cnb.ParseDescriptor("f", []byte("api = '0.10'\nbuildpack = {id = 'a', version = '1'}\n"+text), true)
		require.NoError(t, err, text)
		assert.Equal(t, fits, d.Fits(base), text)
	}
}

// A file that is wrong is told with its name and the key.
func TestFilesThatAreWrong(t *testing.T) {
	descriptor := func(data string) error { _, err := cnb.ParseDescriptor("f", []byte(data), true); return err }
	order := func(data string) error { _, err := cnb.ParseOrder("f", []byte(data)); return err }
	plan := func(data string) error { _, err := cnb.ParsePlan("f", []byte(data)); return err }
	layer := func(data string) error { _, err := cnb.ParseLayer("f", []byte(data)); return err }
	launch := func(minor uint64) func(string) error {
		return func(data string) error {
			_, err := cnb.ParseLaunch("f", []byte(data), &cnb.Descriptor{API: cnb.API{Minor: minor}})
			return err
		}
	}
	unmet := func(data string) error {
		_, err := cnb.ParseUnmet("f", []byte(data), []cnb.Require{{Name: "a"}})
		return err
	}
	for _, test := range []struct {
		parse     func(string) error
		data, key string
	}{
		{descriptor, "", "buildpack.id"},
		{descriptor, "= = =", ""},
		{descriptor, "api = 8", "api"},
		{descriptor, "buildpack = {id = '..', version = '1'}", "buildpack.id"},
		{descriptor, "buildpack = {id = 'config', version = '1'}", "buildpack.id"},
		{descriptor, "buildpack = {id = 'a b', version = '1'}", "buildpack.id"},
		{descriptor, "buildpack = {id = 'a', version = '../1'}", "buildpack.version"},
		{descriptor, "buildpack = {id = 'a', version = '1'}", "api"},
		{descriptor, "api = '0.6'\nbuildpack = {id = 'a', version = '1'}", "api"},
		{descriptor, "api = '0.12'\nbuildpack = {id = 'a', version = '1', exec-env = 'x'}", "buildpack.exec-env"},
		{descriptor, "api = '0.12'\nbuildpack = {id = 'a', version = '1'}\norder = [{group = [{id = 'b'}]}]", "order"},
		{order, "", "order"},
		{order, "[[order]]", "order.group"},
		{order, "order = [{group = [{id = 'a_b'}]}]", "order.group.id"},
		{order, "order = [{group = [{id = 'a', version = '/'}]}]", "order.group.version"},
		{plan, "[[requires]]\nname = 'a'\nversion = '1'", "requires.version"},
		{plan, "[[or]]\n[[or.provides]]\n", "or[0].provides.name"},
		{plan, "[[requires]]\n", "requires.name"},
		{plan, "requires = 1", "requires"},
		{layer, "launch = true", "launch"},
		{layer, "[types]\ncache = 'yes'", "types.cache"},
		{layer, "[types", ""},
		{launch(9), "[[processes]]\ntype = 'a/b'\ncommand = ['x']", "processes[0].type"},
		{launch(9), "[[processes]]\ntype = '..'\ncommand = ['x']", "processes[0].type"},
		{launch(9), "[[processes]]\ntype = 'a'\ncommand = 'x'", "processes[0].command"},
		{launch(9), "[[processes]]\ntype = 'a'", "processes[0].command"},
		{launch(9), "[[processes]]\ntype = 'a'\ncommand = []", "processes[0].command"},
		{launch(9), "[[processes]]\ntype = 'a'\ncommand = ['x']\ndirect = true", "processes[0].direct"},
		{launch(9), "[[processes]]\ntype = 'a'\ncommand = [\"x\\u0000\"]", "processes[0].command"},
		{launch(8), "[[processes]]\ntype = 'a'\ncommand = ['x']", "processes[0].command"},
		{launch(9), "[[processes]]\ntype='a'\ncommand=['x']\ndefault=true\n[[processes]]\ntype='b'\ncommand=['x']\ndefault=true", "processes"},
		{unmet, "[[unmet]]\nname = 'b'", "unmet.name"},
	} {
		err := test.parse(test.data)
		var wrong *cnb.FileError
		require.ErrorAs(t, err, &wrong, test.data)
		assert.Equal(t, "f", wrong.File)
		if test.key != "" {
			assert.Equal(t, test.key, wrong.Key, "%s: %v", test.data, err)
		}
	}
}

// Small files that would take a decoder hours, or all memory.
func TestTOMLBombs(t *testing.T) {
	for name, data := range map[string]string{
		"size":          "a = '" + strings.Repeat("x", cnb.MaxFileBytes) + "'",
		"lists":         "metadata = " + strings.Repeat("[", 100_000),
		"tables":        "metadata = " + strings.Repeat("{a=", 100_000),
		"hidden ends":   "metadata = " + strings.Repeat("['\\', \"]\\\"]\", '''\n]''', #]\n", 10_000),
		"long key":      strings.Repeat("a.", 100_000) + "a = 1",
		"quoted key":    strings.Repeat("'a'.", 100_000) + "a = 1",
		"table headers": strings.Repeat("[["+strings.Repeat("a.", 20)+"a]]\n", 10_000),
	} {
		_, err := cnb.ParseLayer("f", []byte(data))
		assert.ErrorIs(t, err, cnb.ErrTooLarge, name)
	}
	harmless := "[types]\nlaunch = true\n[metadata]\nlist = [" + strings.Repeat("1.5, ", 1000) + "]\ntext = '[[[[" + strings.Repeat("[.", 100) +
		"'\nmore = \"\"\"\n\\\"\"\" " + strings.Repeat("[", 100) + "\"\"\"\n" + strings.Repeat("[[metadata.a.b]]\n", 10_000)
	layer, err := cnb.ParseLayer("f", []byte(harmless))
	require.NoError(t, err)
	assert.True(t, layer.Launch)
}

func FuzzFiles(f *testing.F) {
	for _, seed := range []string{"[types]\nlaunch=true", "[[processes]]\ntype='a'\ncommand=['x']", "[[or]]\nrequires=[{name='a'}]", "api='0.8'\nbuildpack={id='a',version='1'}",
		"a='''\n'''\nb=\"\"\"\\\"\"\"\"", "[[[[", "a.b.c=1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if layer, err := cnb.ParseLayer("f", data); err == nil {
			kept, err := cnb.KeptLayer(layer)
			require.NoError(t, err)
			again, err := cnb.ParseLayer("f", kept)
			require.NoError(t, err)
			assert.True(t, again.Ignored())
		}
		_, _ = cnb.ParseDescriptor("f", data, true)
		_, _ = cnb.ParsePlan("f", data)
		_, _ = cnb.ParseLaunch("f", data, &cnb.Descriptor{API: cnb.Highest})
		_, _ = cnb.ParseLaunch("f", data, &cnb.Descriptor{API: cnb.Lowest})
	})
}

// A layer that is kept has lost its types: the buildpack sets them anew.
func TestKeptFiles(t *testing.T) {
	layer, err := cnb.ParseLayer("f", []byte("[types]\nlaunch = true\ncache = true\n[metadata]\nversion = \"1\"\n[metadata.deep]\nat = 2026-11-26T04:00:00Z\n"))
	require.NoError(t, err)
	assert.True(t, layer.Launch && layer.Cache && !layer.Build)
	kept, err := cnb.KeptLayer(layer)
	require.NoError(t, err)
	assert.Equal(t, "[metadata]\nversion = \"1\"\n[metadata.deep]\nat = 2026-11-26T04:00:00Z\n", string(kept))
	again, err := cnb.ParseLayer("f", kept)
	require.NoError(t, err)
	assert.True(t, again.Ignored())
	assert.Equal(t, layer.Metadata, again.Metadata)

	kept, err = cnb.KeptStore("f", []byte("other = 1\n[metadata]\na = \"b\"\n"))
	require.NoError(t, err)
	assert.Equal(t, "[metadata]\na = \"b\"\n", string(kept))
	kept, err = cnb.KeptLayer(cnb.Layer{Metadata: "a text"})
	require.NoError(t, err)
	assert.Equal(t, "metadata = \"a text\"\n", string(kept))
	kept, err = cnb.KeptLayer(cnb.Layer{})
	require.NoError(t, err)
	assert.Empty(t, kept)
}

func TestLayerNames(t *testing.T) {
	for file, want := range map[string]string{"node.toml": "node", ".hidden.toml": ".hidden", "a.b.toml": "a.b", "launch.toml": "", "build.toml": "", "store.toml": "", "x.txt": ""} {
		name, ok, err := cnb.LayerOf(file)
		require.NoError(t, err)
		assert.Equal(t, want, name)
		assert.Equal(t, want != "", ok)
	}
	for _, file := range []string{".toml", "..toml", "...toml"} {
		_, _, err := cnb.LayerOf(file)
		var wrong *cnb.FileError
		assert.ErrorAs(t, err, &wrong, file)
	}
}

func TestMergedProcesses(t *testing.T) {
	parse := func(minor uint64, text string) []cnb.Process {
		processes, err := cnb.ParseLaunch("f", []byte(text), &cnb.Descriptor{ID: "bp", API: cnb.API{Minor: minor}})
		require.NoError(t, err)
		return processes
	}
	var p cnb.Processes
	assert.Empty(t, p.Web())
	assert.Empty(t, p.Add(parse(8, "[[processes]]\ntype='a'\ncommand='one'\nargs=['x']\nworking-dir='d/'")))
	assert.Equal(t, []cnb.Process{{Type: "a", Command: []string{"one"}, Args: []string{"x"}, Append: true, Dir: "d", Buildpack: "bp"}}, p.List())
	assert.Equal(t, "a", p.Web(), "the only one")
	assert.Empty(t, p.Add(parse(9, "[[processes]]\ntype='b'\ncommand=['two','y']\ndefault=true\n[[processes]]\ntype='c'\ncommand=['three']")))
	assert.Equal(t, "b", p.Web(), "the default")
	assert.Empty(t, p.Add(parse(9, "[[processes]]\ntype='c'\ncommand=['four']\ndefault=true")), "the last default")
	assert.Equal(t, "c", p.Web())
	assert.Equal(t, "c", p.Add(parse(9, "[[processes]]\ntype='c'\ncommand=['five']")))
	assert.Empty(t, p.Web(), "the default was replaced by one that is none")
	p.Add(parse(12, "[[processes]]\ntype='web'\ncommand=['w']\nexec-env=['test']\n[[processes]]\ntype='d'\ncommand=['w']\nexec-env=['*']"))
	assert.Empty(t, p.Web(), "it is for tests only")
	p.Add(parse(11, "[[processes]]\ntype='web'\ncommand=['w']\nexec-env=['test']"))
	assert.Equal(t, "web", p.Web(), "that API knows no exec-env")
	var types []string
	for _, process := range p.List() {
		types = append(types, process.Type)
	}
	assert.Equal(t, []string{"a", "b", "c", "d", "web"}, types)
	assert.Empty(t, parse(7, "[[processes]]\ntype='a'\ncommand='x'\nworking-dir='d'")[0].Dir)
}

func TestEnvironmentAtBuild(t *testing.T) {
	files := map[string]string{
		"l/bin/x": "", "l/lib/x": "", "l/include/x": "", "l/pkgconfig/x": "", "l/env/A": "one\n", "l/env.build/A.append": "two",
		"l/env/A.delim": "no", "l/env.build/A.delim": ",", "l/env.launch/A": "at launch", "l/env/B.default": "b", "l/env/C.default": "c",
	}
	changes, err := tree(t, "", files).BuildChanges("/layers/bp/l", "l")
	require.NoError(t, err)
	e := cnb.Env{"PATH": "/bin", "C": "old", "LD_LIBRARY_PATH": ""}
	e.Apply(changes)
	assert.Equal(t, cnb.Env{
		"PATH": "/layers/bp/l/bin:/bin", "LD_LIBRARY_PATH": "/layers/bp/l/lib", "LIBRARY_PATH": "/layers/bp/l/lib",
		"CPATH": "/layers/bp/l/include", "PKG_CONFIG_PATH": "/layers/bp/l/pkgconfig", "A": "one\n,two", "B": "b", "C": "old",
	}, e)
	user := e.WithUser(cnb.Env{"PATH": "/mine", "A": "my own", "NEW": ""})
	assert.Equal(t, "/mine:/layers/bp/l/bin:/bin", user["PATH"])
	assert.Equal(t, "my own", user["A"])
	assert.Contains(t, user.List(), "NEW=")
	assert.Equal(t, "one\n,two", e["A"])

	for _, name := range []string{"=x", "A=B", ".append"} {
		_, err := cnb.Changes("env", map[string]string{name: "v"}, cnb.Override)
		assert.Error(t, err, name)
	}
	_, err = cnb.Changes("env", map[string]string{"A": "a\x00b"}, cnb.Override)
	assert.ErrorContains(t, err, "env/A")
}
