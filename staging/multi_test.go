package staging_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// tool supplies a program, and app makes use of it.
var (
	tool = stagetest.Files{"bin/supply": `#!/bin/sh
		mkdir "$3/$4/bin"; printf '#!/bin/sh\necho "tool of $(dirname "$0")"\n' >"$3/$4/bin/tool"; chmod +x "$3/$4/bin/tool"
		printf 'name: Tool\nversion: 1.2\n' >"$3/$4/config.yml"; date >>"$2/seen"; wc -l <"$2/seen"`}
	user = stagetest.Files{"bin/detect": "#!/bin/sh\necho User\n", "bin/supply": "#!/bin/sh\n", "bin/finalize": `#!/bin/sh
		PATH="$3/0/bin:$PATH" tool >/dev/null || exit 9
		echo 'for d in "$DEPS_DIR"/*/bin; do PATH="$d:$PATH"; done; export PATH' >"$5/paths.sh"
		echo 'name: User' >"$3/$4/config.yml"
		echo 'processes: [{type: web, command: tool}, {type: log, command: tail, platforms: {cloudfoundry: {sidecar_for: [web]}}}]' >"$3/$4/launch.yml"`}
)

func opened(t testing.TB, key string, files stagetest.Files) buildpack.Buildpack {
	t.Helper()
	bp, err := buildpack.Open(key, files.Dir(t))
	require.NoError(t, err)
	return bp
}

func TestSeveralBuildpacks(t *testing.T) {
	both, err := buildpack.Compose(opened(t, "tool", tool), opened(t, "user", user))
	require.NoError(t, err)
	s := newStage(t, app)
	s.task.Custom = both
	result := s.ok(t)
	assert.Equal(t, "user", result.BuildpackKey)
	assert.Equal(t, "User", result.DetectedBuildpack)
	assert.Equal(t, "tool", result.StartCommand)
	assert.Equal(t, map[string]string{"web": "tool"}, result.ProcessTypes)
	sidecars := []droplet.Sidecar{{Name: "log", ProcessTypes: []string{"web"}, Command: "tail"}}
	assert.Equal(t, sidecars, result.Sidecars)
	members := stagetest.ReadTgz(t, s.droplet.Bytes())
	for _, name := range []string{"./deps/0/bin/tool", "./deps/1/launch.yml", "./profile.d/paths.sh", "./app/.hidden", "./tmp/", "./logs/staging_task.log"} {
		assert.Contains(t, members, name)
	}
	info, err := droplet.ReadInfo(t.Context(), bytes.NewReader(s.droplet.Bytes()), droplet.Limits{})
	require.NoError(t, err)
	assert.Equal(t, []droplet.BuildpackInfo{{Key: "tool", Name: "Tool", Version: "1.2"}, {Key: "user", Name: "User"}}, info.Buildpacks)
	assert.Equal(t, sidecars, info.Sidecars)

	second := newStage(t, app)
	second.task.Custom = both
	second.task.Cache = stagetest.Save(t, s.cache.Bytes())
	second.ok(t)
	assert.Contains(t, second.log.String(), "\n2\n", "the cache of a buildpack comes back to it")
}

func TestDetectionAmongKinds(t *testing.T) {
	never := stagetest.Scripts("exit 1", "exit 0", "")
	s := newStage(t, app, opened(t, "never", never), opened(t, "late", user), opened(t, "later", hello))
	failed := s.fails(t, staging.CompileFailed)
	assert.Equal(t, "late", failed.Buildpack, "it was chosen, and fails because nobody supplied its tool")
	assert.EqualValues(t, 9, failed.ExitStatus)

	s = newStage(t, app, opened(t, "never", never), opened(t, "later", hello), opened(t, "late", user))
	result := s.ok(t)
	assert.Equal(t, "later", result.BuildpackKey)
	members := stagetest.ReadTgz(t, s.droplet.Bytes())
	assert.NotContains(t, members, "./deps/")
	assert.NotContains(t, members, "./profile.d/")
}

func TestFailuresOfSeveral(t *testing.T) {
	good := stagetest.Files{"bin/finalize": "#!/bin/sh\n"}
	for name, test := range map[string]struct {
		first, last stagetest.Files
		kind        staging.Kind
		phase, text string
	}{
		"supply": {stagetest.Files{"bin/supply": "#!/bin/sh\nexit 3\n"}, good, staging.CompileFailed, staging.StepCompile,
			"Buildpack compilation step failed: buildpack first (1 of 2): bin/supply exited with status 3"},
		"finalize": {tool, stagetest.Files{"bin/finalize": "#!/bin/sh\nexit 4\n"}, staging.CompileFailed, staging.StepCompile, "bin/finalize exited with status 4"},
		"launch.yml": {tool, stagetest.Files{"bin/finalize": "#!/bin/sh\necho '- x' >\"$3/$4/launch.yml\"\n"}, staging.ReleaseFailed, staging.StepRelease,
			"deps/1/launch.yml cannot be used: it is no map"},
		"release":  {tool, stagetest.Files{"bin/finalize": "#!/bin/sh\n", "bin/release": "#!/bin/sh\necho why; exit 5\n"}, staging.ReleaseFailed, staging.StepRelease, "bin/release exited with status 5"},
		"Procfile": {tool, stagetest.Files{"bin/finalize": "#!/bin/sh\necho '- x' >\"$1/Procfile\"\n"}, staging.ProcfileRefused, staging.StepRelease, "Invalid Procfile format"},
	} {
		t.Run(name, func(t *testing.T) {
			both, err := buildpack.Compose(opened(t, "first", test.first), opened(t, "last", test.last))
			require.NoError(t, err)
			s := newStage(t, app)
			s.task.Custom = both
			failed := s.fails(t, test.kind)
			assert.Equal(t, test.phase, failed.Phase)
			assert.Equal(t, map[bool]string{true: "first", false: "last"}[name == "supply"], failed.Buildpack)
			assert.ErrorContains(t, failed, test.text)
		})
	}
}

// TestBuildpacksThatTellNothing: those without key, name and version go by where they come from.
func TestBuildpacksThatTellNothing(t *testing.T) {
	silent, quiet := opened(t, "", stagetest.Scripts("exit 0", "exit 0", "")), opened(t, "", stagetest.Files{"bin/finalize": "#!/bin/sh\n"})
	both, err := buildpack.Compose(opened(t, "", stagetest.Files{"bin/supply": "#!/bin/sh\n"}), opened(t, "", user))
	require.NoError(t, err)
	mixed, err := buildpack.Compose(opened(t, "", tool), quiet)
	require.NoError(t, err)
	from := func(bp buildpack.Buildpack) droplet.BuildpackInfo { return droplet.BuildpackInfo{Name: bp.Path()} }
	for _, test := range []struct {
		custom buildpack.Buildpack
		want   []droplet.BuildpackInfo
	}{
		{silent, []droplet.BuildpackInfo{from(silent)}},
		{quiet, []droplet.BuildpackInfo{from(quiet)}},
		{mixed, []droplet.BuildpackInfo{{Name: "Tool", Version: "1.2"}, from(quiet)}},
	} {
		s := newStage(t, app)
		s.task.Custom = test.custom
		assert.Equal(t, test.want, s.ok(t).Buildpacks)
	}
	s := newStage(t, app)
	s.task.Custom = both
	assert.ErrorContains(t, s.fails(t, staging.CompileFailed), both.Path(), "the one that failed")
}

// TestFetchFailureIsToldOnce reads the log of a staging whose buildpack cannot be had.
func TestFetchFailureIsToldOnce(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	source, err := buildpack.ParseURL(server.URL + "/bp.zip")
	require.NoError(t, err)
	s := newStage(t, app)
	s.task.Custom, err = source.Open(t.TempDir(), buildpack.FetchOptions{})
	require.NoError(t, err)
	failed := s.fails(t, staging.BuildpackFailed)
	assert.Regexp(t, "^stage: the buildpack could not be fetched: Buildpack "+server.URL+"/bp.zip cannot be used: .*404", failed.Error())
	assert.Equal(t, 1, strings.Count(s.log.String(), "HTTP status: 404"), s.log.String())
	assert.Contains(t, s.log.String(), "\nStaging failed: the buildpack could not be fetched: Buildpack "+server.URL)
}
