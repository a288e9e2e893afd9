package containerkit_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

type record struct {
	Env        containerkit.ExactList   `json:"env,omitempty"`
	Properties containerkit.ExactMap    `json:"properties,omitempty"`
	Mounts     containerkit.ExactMounts `json:"mounts,omitempty"`
}

func TestSaveRecord(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	want := record{
		Env: containerkit.ExactList{"A=\xff\u2028\"<", ""}, Properties: containerkit.ExactMap{"b": "\xfe", "\x00a": ""},
		Mounts: containerkit.ExactMounts{{Src: "/\xfd", Dst: "/a", Writable: true}, {Src: "/b"}},
	}
	for _, r := range []record{{}, want} {
		require.NoError(t, containerkit.SaveRecord(root, "r.json", r))
		text, err := root.ReadFile("r.json")
		require.NoError(t, err)
		got := want // of which nothing may be left
		require.NoError(t, json.Unmarshal(text, &got))
		if r.Env == nil {
			assert.JSONEq(t, "{}", string(text))
		} else {
			assert.Equal(t, r, got)
		}
	}
	info, err := root.Stat("r.json")
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())
	names, err := filepath.Glob(filepath.Join(root.Name(), "*"))
	require.NoError(t, err)
	assert.Len(t, names, 1)
	require.ErrorIs(t, containerkit.SaveRecord(root, "none/r.json", want), fs.ErrNotExist)
}

// TestExactRecord reads what back ends of earlier releases wrote.
func TestExactRecord(t *testing.T) {
	const text = `{
		"env": ["\"A=\\xff\""],
		"properties": [["\"a\"", "\"1\""], ["\"b\"", "\"\\n\""]],
		"mounts": [{"src": "\"/a\"", "dst": "\"/b\"", "writable": true}, {"src": "\"/c\"", "dst": "\"/d\""}]
	}`
	var r record
	require.NoError(t, json.Unmarshal([]byte(text), &r))
	assert.Equal(t, record{
		Env: containerkit.ExactList{"A=\xff"}, Properties: containerkit.ExactMap{"a": "1", "b": "\n"},
		Mounts: containerkit.ExactMounts(
			[]container.BindMount{{Src: "/a", Dst: "/b", Writable: true}, {Src: "/c", Dst: "/d"}}),
	}, r)
	again, err := json.Marshal(r)
	require.NoError(t, err)
	assert.JSONEq(t, text, string(again))
	require.NoError(t, json.Unmarshal([]byte(`{"env": null, "properties": null, "mounts": null}`), &r))
	assert.Equal(t, record{}, r)
	for _, bad := range []string{`{"env": ["plain"]}`, `{"env": "x"}`, `{"properties": {}}`, `{"properties": [["a", "b"]]}`, `{"mounts": [{"src": "/a"}]}`} {
		require.Error(t, json.Unmarshal([]byte(bad), &r), bad)
	}
}
