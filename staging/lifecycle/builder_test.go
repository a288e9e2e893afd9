package lifecycle_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/lifecycle"
)

var app = stagetest.Files{"index.html": "hello", ".hidden": "h", "dir/link -> ../index.html": "", "bin/run": "#!/bin/sh\n"}

func TestDefaults(t *testing.T) {
	assert.Equal(t, lifecycle.BuilderConfig{
		BuildDir: "/tmp/app", OutputDroplet: "/tmp/droplet", OutputMetadata: "/tmp/result.json",
		OutputBuildArtifactsCache: "/tmp/output-cache", BuildpacksDir: "/tmp/buildpacks",
		BuildpacksDownloadDir: "/tmp/buildpackdownloads", BuildArtifactsCacheDir: "/tmp/cache",
		CredHub: lifecycle.CredHubOptions{Attempts: 3, Delay: time.Second},
	}, lifecycle.DefaultBuilderConfig())
}

func TestCommandLineOfBuilder(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		code int
		text string
	}{
		"no order":      {nil, 1, "missing flag: -buildpackOrder\n"},
		"empty values":  {[]string{"-buildDir=", "-outputDroplet="}, 1, "missing flag: -buildDir, missing flag: -buildpackOrder, missing flag: -outputDroplet\n"},
		"unknown flag":  {[]string{"-none"}, 2, "flag provided but not defined: -none\nUsage of builder:\n"},
		"bad duration":  {[]string{"-credhubRetryDelay=soon"}, 2, `invalid value "soon" for flag -credhubRetryDelay`},
		"help":          {[]string{"-help"}, 0, "Usage of builder:\n"},
		"bad platform":  {[]string{"-buildpackOrder=x"}, 3, "Invalid platform options: "},
		"no order left": {[]string{"-buildpackOrder=a", "-buildpackOrder="}, 1, "missing flag: -buildpackOrder\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			s.env = append(s.env, "VCAP_PLATFORM_OPTIONS={")
			p := s.process("builder", test.args)
			assert.Equal(t, test.code, lifecycle.Exit(p, lifecycle.Builder(t.Context(), p)))
			assert.True(t, strings.HasPrefix(s.stderr.String(), test.text), s.stderr.String())
		})
	}
}

func TestBuildWithDetection(t *testing.T) {
	s := newSite(t, app)
	s.buildpack("no", stagetest.Scripts("exit 1", "exit 0", ""))
	s.buildpack("mode", stagetest.Scripts("exit 0", "exit 0", ""))
	require.NoError(t, os.Chmod(filepath.Join(s.path("buildpacks"), buildpack.Hash("mode"), "bin/detect"), 0o640))
	s.buildpack("lacks", stagetest.Files{"bin/compile": "#!/bin/sh\n"})
	s.buildpack("yes", stagetest.Scripts(`test -f "$1/index.html" && echo Found`, `echo compiling; echo problem >&2; echo made >"$1/made"; echo $#: $(basename "$2") $CF_STACK`,
		"echo 'default_process_types: {web: serve, worker: work}'"))
	s.env = append(s.env, "CF_STACK=cflinuxfs4")
	require.Equal(t, 0, s.builder("-buildpackOrder=no,missing,lacks,mode,yes,never"), s.stderr.String())
	assert.Equal(t, "compiling\n2: final cflinuxfs4\n", s.stdout.String())
	errs := lines(s.stderr.String())
	require.Len(t, errs, 5)
	assert.Equal(t, fmt.Sprintf("malformed buildpack does not contain a /bin dir: missing (expected: %s/%s/bin, or %s there)",
		s.path("buildpacks"), buildpack.Hash("missing"), "ea21841da70e6405af19fabc4ff8bdd9"), errs[0])
	assert.Contains(t, errs[1], "bin/detect: no such file")
	assert.Equal(t, "WARNING: buildpack script '/bin/detect' is not executable", errs[2])
	assert.Contains(t, errs[3], "permission denied")
	assert.Equal(t, "problem", errs[4])

	assert.JSONEq(t, `{
		"lifecycle_type": "buildpack",
		"lifecycle_metadata": {"buildpack_key": "yes", "detected_buildpack": "Found", "buildpacks": [{"key": "yes", "name": "Found"}]},
		"process_types": {"web": "serve", "worker": "work"},
		"processes": [{"type": "web", "command": "serve"}, {"type": "worker", "command": "work"}],
		"execution_metadata": ""}`, s.read("out/result.json"))
	members := s.droplet()
	assert.Equal(t, `{"detected_buildpack":"Found","start_command":"serve"}`+"\n", members["./staging_info.yml"])
	assert.Equal(t, "made\n", members["./app/made"])
	assert.Equal(t, "-> ../index.html", members["./app/dir/link"])
	for _, name := range []string{"./", "./app/", "./app/.hidden", "./tmp/", "./logs/", "./deps/", "./profile.d/"} {
		assert.Contains(t, members, name)
	}
	assert.NotContains(t, members, "./deps/0/", "one that compiles has no dependencies")
	assert.FileExists(t, s.path("app/made"), "the app is changed in place")
}

func TestResultOfSeveral(t *testing.T) {
	s := newSite(t, stagetest.Files{"Procfile": "extra: from <procfile> # and a comment\n"})
	s.buildpack("tool", scripts(map[string]string{"supply": `printf 'name: Tool\nversion: 1.2.3\noutput_metadata: {b: [1], a: x}\n' >"$3/$4/config.yml"
		echo 'processes: [{type: web, command: early}, {type: z, command: late}]' >"$3/$4/launch.yml"`}))
	s.buildpack("final", scripts(map[string]string{"detect": "exit 1", "supply": "exit 0", "finalize": `printf 'name: Final\nconfig: {entrypoint_prefix: tini --}\n' >"$3/$4/config.yml"
		echo 'processes: [{type: web, command: run}, {type: s, command: c, limits: {memory: 64}, platforms: {cloudfoundry: {sidecar_for: [web]}}}]' >"$3/$4/launch.yml"
		echo 'export X=y' >"$5/x.sh"`, "release": "exit 9"}))
	require.Equal(t, 0, s.builder("-buildpackOrder=tool,final", "-skipDetect"), s.stderr.String())
	assert.Equal(t, `{"lifecycle_metadata":{"buildpack_key":"final","detected_buildpack":"Final","buildpacks":[`+
		`{"key":"tool","name":"Tool","version":"1.2.3","output_metadata":{"a":"x","b":[1]}},{"key":"final","name":"Final","config":{"entrypoint_prefix":"tini --"}}]},`+
		`"process_types":{"extra":"from \u003cprocfile\u003e","web":"run","z":"late"},`+
		`"processes":[{"type":"extra","command":"from \u003cprocfile\u003e"},{"type":"web","command":"run"},{"type":"z","command":"late"}],`+
		`"sidecars":[{"name":"s","process_types":["web"],"command":"c","memory":64}],"execution_metadata":"","lifecycle_type":"buildpack"}`+"\n", s.read("out/result.json"))
	members := s.droplet()
	assert.Equal(t, `{"detected_buildpack":"Final","start_command":"run","config":{"entrypoint_prefix":"tini --"}}`+"\n", members["./staging_info.yml"])
	assert.Equal(t, "export X=y\n", members["./profile.d/x.sh"])
	assert.Contains(t, members, "./deps/1/config.yml")

	first := s.read("out/droplet")
	require.Equal(t, 0, s.builder("-buildpackOrder=tool,final", "-skipDetect"))
	assert.Equal(t, stagetest.ReadTgz(t, []byte(first)), s.droplet())
}

// TestDetectionAmongTen shows that with detection there is one index, whatever the number of candidates.
func TestDetectionAmongTen(t *testing.T) {
	s := newSite(t, app)
	var order []string
	for i := range 12 {
		key := fmt.Sprint("bp", i)
		order = append(order, key)
		s.buildpack(key, scripts(map[string]string{"detect": fmt.Sprintf("test %d = 10", i), "release": "exit 9",
			"supply": `echo "$4 $(ls "$3")"; echo 'processes: [{type: web, command: found}]' >"$3/$4/launch.yml"`, "finalize": `echo "$4 $(basename "$5")"`}))
	}
	require.Equal(t, 0, s.builder("-buildpackOrder="+strings.Join(order, ",")), s.stderr.String())
	assert.Equal(t, "0 0\n0 profile.d\n", s.stdout.String())
	assert.Equal(t, map[string]any{"web": "found"}, s.result()["process_types"])
	assert.Contains(t, s.droplet(), "./deps/0/launch.yml")
}

func TestExitCodes(t *testing.T) {
	supply, finalize := map[string]string{"supply": "exit 0"}, map[string]string{"detect": "exit 0", "finalize": "exit 0"}
	for name, test := range map[string]struct {
		first, last map[string]string
		code        int
		text        string
		result      bool // is written all the same
	}{
		"all well":              {supply, finalize, 0, "No start command specified by buildpack or via Procfile.\nApp will not start unless a command is provided at runtime.\n", true},
		"none detects":          {nil, map[string]string{"detect": "exit 1"}, 222, "None of the buildpacks detected a compatible application", false},
		"compile":               {nil, map[string]string{"detect": "exit 0", "compile": "exit 7"}, 223, "Failed to compile droplet: bin/compile exited with status 7", true},
		"supply of the last":    {supply, map[string]string{"supply": "exit 7", "finalize": "exit 0"}, 223, "Failed to compile droplet: buildpack last (2 of 2): bin/supply exited with status 7", true},
		"finalize":              {supply, map[string]string{"finalize": "exit 7"}, 223, "Failed to compile droplet: buildpack last (2 of 2): bin/finalize exited", true},
		"nothing to do it":      {supply, map[string]string{"detect": "exit 0"}, 223, "Failed to compile droplet: ", true},
		"release":               {supply, map[string]string{"finalize": "exit 0", "release": "exit 7"}, 224, "Failed to build droplet release: buildpack last (2 of 2): bin/release exited", true},
		"release is no YAML":    {nil, map[string]string{"detect": "exit 0", "finalize": "exit 0", "release": "echo 'a: b: c'"}, 224, "Failed to build droplet release: bin/release: its output is no YAML", true},
		"supply":                {map[string]string{"supply": "exit 7"}, finalize, 225, "Failed to run all supply scripts: buildpack first (1 of 2): bin/supply exited with status 7", false},
		"no supply":             {map[string]string{"compile": "exit 0"}, finalize, 225, "Error: one of the buildpacks chosen to supply dependencies does not support multi-buildpack apps\n", false},
		"launch.yml":            {map[string]string{"supply": `echo '[' >"$3/$4/launch.yml"`}, finalize, 1, "deps/0/launch.yml cannot be used", true},
		"Procfile":              {supply, map[string]string{"finalize": `echo 'web: a: b' >"$1/Procfile"`}, 1, "Failed to read command from Procfile: invalid YAML", true},
		"bent index":            {map[string]string{"supply": `rmdir "$3/0" && ln -s /etc "$3/0"`}, finalize, 223, `"deps/0" was no directory any more`, true},
		"unreadable leftovers":  {supply, map[string]string{"finalize": `mkdir -p "$3/$4/a/b"; chmod 0 "$3/$4/a"`, "release": "exit 3"}, 224, "Failed to build droplet release", true},
		"the app is a link":     {supply, map[string]string{"finalize": `rm -rf "$1" && ln -s / "$1"`}, 1, "has put something else in place of the directory", true},
		"the cache is a link":   {supply, map[string]string{"finalize": `rm -rf "${2%/final}" && ln -s / "${2%/final}"`}, 1, "has put something else in place of the directory", true},
		"the app is taken away": {supply, map[string]string{"finalize": `rm -rf "$1"`}, 1, "Failed to compress droplet filesystem: ", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, app)
			s.buildpack("last", scripts(test.last))
			args := []string{"-buildpackOrder=last"}
			if test.first != nil {
				s.buildpack("first", scripts(test.first))
				args = []string{"-buildpackOrder=first,last", "-skipDetect=true"}
			}
			assert.Equal(t, test.code, s.builder(args...), s.stderr.String())
			assert.Contains(t, s.stderr.String(), test.text)
			if !test.result {
				assert.NoFileExists(t, s.path("out/result.json"))
				return
			}
			res := s.result()
			assert.Equal(t, "last", res["lifecycle_metadata"].(map[string]any)["buildpack_key"])
			if test.code >= 222 {
				assert.Nil(t, res["process_types"])
				assert.Contains(t, res, "process_types")
			}
			if test.code == 0 {
				assert.NotContains(t, res, "processes")
				assert.NotContains(t, res, "sidecars")
				assert.Equal(t, `{"detected_buildpack":"","start_command":""}`+"\n", s.droplet()["./staging_info.yml"])
			} else if name != "the cache is a link" { // which is packed behind the droplet
				assert.NoFileExists(t, s.path("out/droplet"))
			}
		})
	}
}

// TestComplaintsComeOnce shows that what cannot be used of a config.yml is told, and told once.
func TestComplaintsComeOnce(t *testing.T) {
	s := newSite(t, stagetest.Files{"Procfile": "web: x"})
	s.buildpack("b", scripts(map[string]string{"finalize": `echo '[a, list]' >"$3/$4/config.yml"`}))
	require.Equal(t, 0, s.builder("-buildpackOrder=b", "-skipDetect"), s.stderr.String())
	assert.Equal(t, "Warning: deps/0/config.yml cannot be used: it is no map\n", s.stderr.String())
	assert.Equal(t, []any{map[string]any{"key": "b", "name": ""}}, s.result()["lifecycle_metadata"].(map[string]any)["buildpacks"])
}

func TestCacheOfBuilder(t *testing.T) {
	s := newSite(t, app)
	keeps := `cat "$2/kept" 2>/dev/null; echo kept >"$2/kept"`
	s.buildpack("a", scripts(map[string]string{"supply": keeps}))
	s.buildpack("b", scripts(map[string]string{"finalize": keeps}))
	stagetest.Files{"vendor/old": "x", buildpack.Hash("gone") + "/x": "x"}.Write(t, s.path("cache"))
	for _, want := range []string{"", "kept\nkept\n"} {
		require.Equal(t, 0, s.builder("-buildpackOrder=a,b", "-skipDetect"), s.stderr.String())
		assert.Equal(t, want, s.stdout.String())
		assert.Equal(t, map[string]string{"./": "", "./final/": "", "./final/kept": "kept\n", "./" + buildpack.Hash("a") + "/": "", "./" + buildpack.Hash("a") + "/kept": "kept\n"},
			stagetest.ReadTgz(t, []byte(s.read("out/cache"))))
	}
}

func TestOutputs(t *testing.T) {
	s := newSite(t, app)
	s.buildpack("b", scripts(map[string]string{"finalize": "exit 0"}))
	args := []string{"-buildpackOrder=b", "-skipDetect"}
	require.Equal(t, 0, s.builder(append(args, "-outputBuildArtifactsCache=/dev/null")...), s.stderr.String())
	null, err := os.Stat("/dev/null")
	require.NoError(t, err)
	assert.NotZero(t, null.Mode()&os.ModeCharDevice)
	assert.Equal(t, 1, s.builder(append(args, "-outputDroplet="+s.dir)...))
	assert.Contains(t, s.stderr.String(), "is a directory")
	require.NoError(t, os.WriteFile(s.path("file"), nil, 0o600))
	require.NoError(t, os.Symlink("app", s.path("linked")))
	assert.Equal(t, 0, s.builder(append(args, "-buildDir=linked")...), s.stderr.String())
	assert.Contains(t, s.droplet(), "./app/index.html")
	assert.Equal(t, 1, s.builder(append(args, "-buildDir=none")...))
	assert.Contains(t, s.stderr.String(), "Failed to set up filesystem when generating droplet: ")
	assert.Equal(t, 1, s.builder(append(args, "-outputMetadata=file/x/result.json")...))
	assert.Contains(t, s.stderr.String(), "Failed to set up filesystem when generating droplet: ")
	assert.Equal(t, 1, s.builder(append(args, "-outputDroplet=/dev/full")...))
	assert.Contains(t, s.stderr.String(), "Failed to compress droplet filesystem: ")
	assert.Contains(t, s.stderr.String(), "no space left on device")
	_, err = os.Stat("/dev/full")
	assert.NoError(t, err)
}

func TestBuildEndsWithItsContext(t *testing.T) {
	s := newSite(t, app)
	s.buildpack("b", scripts(map[string]string{"detect": "exit 0", "finalize": `echo begun >"$1/begun"; sleep 1000 & sleep 1000`}))
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		assert.Eventually(t, func() bool { _, err := os.Stat(s.path("app/begun")); return err == nil }, 20*time.Second, 5*time.Millisecond)
		cancel(fmt.Errorf("a reason"))
	}()
	cfg := lifecycle.DefaultBuilderConfig()
	cfg.BuildDir, cfg.OutputDroplet, cfg.OutputMetadata, cfg.OutputBuildArtifactsCache = "app", "out/d", "out/r", "out/c"
	cfg.BuildpacksDir, cfg.BuildpacksDownloadDir, cfg.BuildArtifactsCacheDir = "buildpacks", "downloads", "cache"
	cfg.BuildpackOrder, cfg.SkipDetect = []string{"b"}, true
	err := lifecycle.Build(ctx, cfg, s.process("", nil))
	assert.ErrorContains(t, err, "a reason")
	assert.Equal(t, lifecycle.ExitFailed, code(t, err))
	assert.NoFileExists(t, s.path("out/d"))
}

func TestLocation(t *testing.T) {
	const md5OfRuby = "b442f62c3868419d04c80f71c126beec"
	bp := func(says string) stagetest.Files {
		return scripts(map[string]string{"detect": "exit 0", "finalize": "echo " + says})
	}
	for name, test := range map[string]struct {
		dirs map[string]stagetest.Files
		want string
	}{
		"hash":                    {map[string]stagetest.Files{"2e00e59c1477fce4": bp("hash"), md5OfRuby: bp("md5")}, "hash"},
		"MD5":                     {map[string]stagetest.Files{md5OfRuby: bp("md5")}, "md5"},
		"MD5 before nested":       {map[string]stagetest.Files{"2e00e59c1477fce4/nested": bp("nested"), md5OfRuby: bp("md5")}, "md5"},
		"nested":                  {map[string]stagetest.Files{"2e00e59c1477fce4/ruby-1.0": bp("nested")}, "nested"},
		"nested in MD5":           {map[string]stagetest.Files{md5OfRuby + "/ruby-1.0": bp("nested in md5")}, "nested in md5"},
		"two nested":              {map[string]stagetest.Files{"2e00e59c1477fce4/a": bp("a"), "2e00e59c1477fce4/b": bp("b")}, ""},
		"nested, but not in MD5":  {map[string]stagetest.Files{"2e00e59c1477fce4": {"file": ""}, md5OfRuby + "/x": bp("x")}, ""},
		"nowhere":                 {nil, ""},
		"nested without programs": {map[string]stagetest.Files{"2e00e59c1477fce4/a": {"file": ""}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, app)
			for dir, files := range test.dirs {
				files.Write(t, filepath.Join(s.path("buildpacks"), dir))
			}
			for _, flag := range []string{"-skipDetect=true", "-skipDetect=false"} {
				got := s.builder("-buildpackOrder=ruby_buildpack", flag)
				if test.want == "" {
					assert.Equal(t, map[string]int{"-skipDetect=true": 225, "-skipDetect=false": 222}[flag], got)
					assert.Contains(t, s.stderr.String(), "malformed buildpack does not contain a /bin dir: ruby_buildpack (expected: "+s.path("buildpacks")+"/2e00e59c1477fce4/bin, or "+md5OfRuby+" there)\n")
					continue
				}
				assert.Equal(t, 0, got, s.stderr.String())
				assert.Equal(t, test.want+"\n", s.stdout.String())
			}
		})
	}
}
