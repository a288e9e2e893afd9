package droplet_test

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
)

func TestParseInfo(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want droplet.StagingInfo
	}{
		"empty":         {"", droplet.StagingInfo{}},
		"null document": {"--- ~\n", droplet.StagingInfo{}},
		"all keys": {
			"---\nbuildpack_path: /b/b1_0f3c\ndetected_buildpack: Ruby/Rack\nstart_command: rackup -p $PORT\neffective_procfile:\n  web: rackup\n  worker: ~\n",
			droplet.StagingInfo{BuildpackPath: "/b/b1_0f3c", DetectedBuildpack: "Ruby/Rack", StartCommand: "rackup -p $PORT",
				EffectiveProcfile: map[string]string{"web": "rackup"}},
		},
		"nulls and unknown keys": {
			"detected_buildpack: null\nstart_command:\nfuture: {a: [1, 2]}\neffective_procfile: null\n", droplet.StagingInfo{},
		},
		"custom buildpack path": {
			"buildpack_path: !ruby/object:Pathname\n  path: /tmp/buildpacks/custom\nstart_command: x\n",
			droplet.StagingInfo{BuildpackPath: "/tmp/buildpacks/custom", StartCommand: "x"},
		},
		"unknown tags": {
			"start_command: !unknown/tag run\nother: !ruby/sym x\n", droplet.StagingInfo{StartCommand: "run"},
		},
		"scalars of other types": {
			"start_command: 42\ndetected_buildpack: true\n", droplet.StagingInfo{StartCommand: "42", DetectedBuildpack: "true"},
		},
		"values of wrong kinds": {
			"start_command: [a]\neffective_procfile: [web]\nbuildpack_path: {dir: x}\n", droplet.StagingInfo{},
		},
		"aliases": {
			"x: &cmd run it\nstart_command: *cmd\neffective_procfile: {web: *cmd}\n",
			droplet.StagingInfo{StartCommand: "run it", EffectiveProcfile: map[string]string{"web": "run it"}},
		},
		"alias in a circle": {"effective_procfile: &a {web: *a}\n", droplet.StagingInfo{EffectiveProcfile: map[string]string{}}},
		"JSON": {
			`{"detected_buildpack":"","start_command":"echo \ud83d\ude00 42","n":1,"processes":[{"type":"web"}]}`,
			droplet.StagingInfo{StartCommand: "echo \U0001F600 42"},
		},
		"JSON with tabs": {
			"{\n\t\"start_command\": \"run\",\n\t\"effective_procfile\": {\"web\": \"run\"}}",
			droplet.StagingInfo{StartCommand: "run", EffectiveProcfile: map[string]string{"web": "run"}},
		},
		"several buildpacks and a sidecar": {
			"config: {entrypoint_prefix: /run.sh, other: 1}\nbuildpacks: [{key: k, name: A, version: 1.2}, {name: B}, x, ~]\n" +
				"sidecars:\n- name: proxy\n  process_types: [web, 3, ~]\n  command: ./envoy\n  memory: 64\n",
			droplet.StagingInfo{
				EntrypointPrefix: "/run.sh", Buildpacks: []droplet.BuildpackInfo{{"k", "A", "1.2"}, {Name: "B"}},
				Sidecars: []droplet.Sidecar{{"proxy", []string{"web", "3"}, "./envoy", 64}},
			},
		},
		"the same as JSON": {
			`{"config":{"entrypoint_prefix":"/run.sh"},"buildpacks":[{"name":"B"}],"sidecars":[{"name":"s","process_types":["web"],"command":"c","memory":7}]}`,
			droplet.StagingInfo{
				EntrypointPrefix: "/run.sh", Buildpacks: []droplet.BuildpackInfo{{Name: "B"}},
				Sidecars: []droplet.Sidecar{{"s", []string{"web"}, "c", 7}},
			},
		},
		"aliases in lists":         {"x: &a [{name: a}]\nbuildpacks: [*a, *a]\n", droplet.StagingInfo{}},
		"flow map that is no JSON": {"{start_command: run}", droplet.StagingInfo{StartCommand: "run"}},
		"failure": {
			"---\nstaging_error:\n  type: NoAppDetectedError\n  message: \"An app was not successfully detected\"\n",
			droplet.StagingInfo{Error: &droplet.StagingError{Type: "NoAppDetectedError", Message: "An app was not successfully detected"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := droplet.ParseInfo([]byte(test.text))
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
	for name, text := range map[string]string{"list": "- a\n- b\n", "word": "word", "broken": "a: [", "large": strings.Repeat("#", 1<<20+1)} {
		t.Run(name, func(t *testing.T) {
			_, err := droplet.ParseInfo([]byte(text))
			require.Error(t, err)
		})
	}
}

func TestMarshalInfo(t *testing.T) {
	info := droplet.StagingInfo{BuildpackPath: "/b/x", StartCommand: "a: b", EffectiveProcfile: map[string]string{"worker": "w", "web": "v"}}
	text, err := info.Marshal()
	require.NoError(t, err)
	assert.Equal(t, "---\nbuildpack_path: /b/x\ndetected_buildpack: null\nstart_command: 'a: b'\neffective_procfile:\n    web: v\n    worker: w\n", string(text))
	back, err := droplet.ParseInfo(text)
	require.NoError(t, err)
	assert.Equal(t, info, back)

	text, err = droplet.StagingInfo{Error: &droplet.StagingError{Type: "BuildpackCompileFailed", Message: "line\nline"}, StartCommand: "x"}.Marshal()
	require.NoError(t, err)
	assert.Equal(t, "---\nstaging_error:\n    type: BuildpackCompileFailed\n    message: |-\n        line\n        line\n", string(text))
}

func TestReadInfo(t *testing.T) {
	data, _ := packed(t, staged(t))
	info, err := droplet.ReadInfo(t.Context(), bytes.NewReader(data), droplet.Limits{})
	require.NoError(t, err)
	assert.Equal(t, droplet.StagingInfo{DetectedBuildpack: "Ruby/Rack", StartCommand: "rackup"}, info)

	legacy := gzipped(t, &tar.Header{Name: "startup", Mode: 0o755}, &tar.Header{Name: "app/staging_info.yml"},
		&tar.Header{Name: "staging_info.yml", Typeflag: tar.TypeSymlink, Linkname: "app/staging_info.yml"})
	_, err = droplet.ReadInfo(t.Context(), bytes.NewReader(legacy), droplet.Limits{})
	require.ErrorIs(t, err, droplet.ErrNoInfo)
	_, err = droplet.ReadInfo(t.Context(), bytes.NewReader(legacy), droplet.Limits{MaxMembers: 2})
	require.ErrorIs(t, err, droplet.ErrLimit)

	bare := gzipped(t, &tar.Header{Name: "staging_info.yml"})
	info, err = droplet.ReadInfo(t.Context(), bytes.NewReader(bare), droplet.Limits{})
	require.NoError(t, err)
	assert.Zero(t, info)
	large := gzipped(t, &tar.Header{Name: "staging_info.yml", Size: droplet.MaxInfoBytes + 1})
	_, err = droplet.ReadInfo(t.Context(), bytes.NewReader(large), droplet.Limits{})
	require.ErrorContains(t, err, "more than")
}

func FuzzParseInfo(f *testing.F) {
	for _, seed := range []string{"---\nbuildpack_path: !ruby/object:Pathname\n  path: /x\n", `{"start_command":"x"}`,
		"a: &a {web: *a}\neffective_procfile: *a\n", "staging_error: {type: X, message: ~}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := droplet.ParseInfo(data)
		if err != nil {
			return
		}
		text, err := info.Marshal()
		require.NoError(t, err)
		back, err := droplet.ParseInfo(text)
		require.NoError(t, err)
		if len(info.EffectiveProcfile) == 0 {
			info.EffectiveProcfile = nil // an empty one is not written
		}
		require.Equal(t, info, back, "%s", text)
	})
}

func FuzzReadInfo(f *testing.F) {
	data, _ := packed(f, staged(f))
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = droplet.ReadInfo(t.Context(), bytes.NewReader(data), droplet.Limits{MaxBytes: 1 << 20})
	})
}
