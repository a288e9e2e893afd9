package job_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/spec"
)

func TestHostileAndBrokenArchives(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	good := blobtest.Tgz(t, "", blobtest.Files{"a/": "", "a/monit": strings.Repeat("x", 10000)})
	for name, archive := range map[string][]byte{
		"escape by name":     blobtest.Tgz(t, "", blobtest.Files{"a/../../../../x": "x"}),
		"escape by link":     blobtest.Tgz(t, "", blobtest.Files{"a/l": "-> ../../../../../../..", "a/l/x": "x"}),
		"escape by absolute": blobtest.Tgz(t, "", blobtest.Files{"a/l": "-> " + filepath.Dir(outside), "a/l/outside": "x"}),
		"absolute name":      blobtest.Tgz(t, "", blobtest.Files{outside: "x"}),
		"cut short":          good[:len(good)-20],
		"no archive":         []byte("Not found"),
		"xz":                 []byte("\xfd7zXZ\x00 and so on"),
		"empty":              nil,
		"too large":          blobtest.Tgz(t, "", blobtest.Files{"a/big": strings.Repeat("0", 300<<10)}),
		"other job":          blobtest.Tgz(t, "", blobtest.Files{"b/monit": "x"}),
		"job is a file":      blobtest.Tgz(t, "", blobtest.Files{"a": "x"}),
		"job is a link":      blobtest.Tgz(t, "", blobtest.Files{"a": "-> /etc"}),
	} {
		m := newMachine(t)
		m.Config.MaxBytes = 200 << 10
		m.restart()
		s := wants(t, m.blobs, []string{"a/1"}, nil)
		s.RenderedTemplates.SHA1 = m.blobs.Add(s.RenderedTemplates.BlobID, archive)
		_, err := m.Apply(t.Context(), s)
		require.Error(t, err, name)
		assert.NoDirExists(t, m.path("data/jobs/a"), name)
		clean(t, m.base)
		assert.NoFileExists(t, outside, name)
	}
}

func TestNamesOutOfTheBaseDirectory(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"../x", "..", "a/b", ".aside-x", ""} {
		s := wants(t, m.blobs, nil, []string{"p/1"})
		s.Packages = map[string]spec.Package{name: {Name: name, Version: "1", BlobID: "package-p-1", SHA1: s.Packages["p"].SHA1}}
		_, err := m.Apply(t.Context(), s)
		require.ErrorIs(t, err, spec.ErrInvalid, name)
		s = wants(t, m.blobs, []string{"a/1"}, nil)
		s.Job.Templates[0].Name = name
		_, err = m.Prepare(t.Context(), s)
		require.ErrorIs(t, err, spec.ErrInvalid, name)
	}
	assert.NoDirExists(t, m.path("data"))
}

func TestOldFormNeedsRendering(t *testing.T) {
	m := newMachine(t)
	var s spec.Spec
	require.NoError(t, json.Unmarshal([]byte(`{"deployment":"d","job":{"name":"web","template":"nginx","version":"1","sha1":"a1","blobstore_id":"b"},
		"index":0,"resource_pool":{},"packages":{},"networks":{},"properties":{}}`), &s))
	_, err := m.Apply(t.Context(), s)
	require.NoError(t, err, "to be kept it need not be installed")
	s.ConfigurationHash = "x"
	_, err = m.Apply(t.Context(), s)
	var needs *spec.NeedsRenderingError
	require.ErrorAs(t, err, &needs)
	assert.Equal(t, "nginx", needs.Job)
	assert.ErrorContains(t, err, "rendered_templates_archive")
}

// TestStartWithNamesThatAreRefused: a spec that is only kept may name anything, and must not keep the machine from starting.
func TestStartWithNamesThatAreRefused(t *testing.T) {
	m := newMachine(t)
	s := spec.Spec{Job: spec.Job{Templates: []spec.Template{{Name: "../../outside"}, {Name: "good"}, {Name: "web server"}}}}
	_, err := m.Apply(t.Context(), s)
	require.NoError(t, err)
	require.NoError(t, m.MakeDirs())
	assert.DirExists(t, m.path("data/sys/log/good"))
	assert.NoDirExists(t, m.path("data/sys/log/web server"))
	assert.NoDirExists(t, m.path("data/outside"))
	assert.NoDirExists(t, m.path("outside"))
}

// TestStartWithASpecThatCannotBeRead: the machine is there for a director to apply the spec again.
func TestStartWithASpecThatCannotBeRead(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, os.Mkdir(m.path("bosh"), 0o755))
	for _, text := range []string{`{"job":[`, `{"job":7}`} {
		require.NoError(t, os.WriteFile(m.path("bosh/spec.json"), []byte(text), 0o600))
		require.NoError(t, m.MakeDirs(), text)
		assert.DirExists(t, m.path("sys/log"))
		_, err := m.specs.Load()
		require.ErrorIs(t, err, spec.ErrInvalid, "whoever asks learns of it")
	}
	_, err := m.Apply(t.Context(), wants(t, m.blobs, []string{"a/1"}, nil))
	require.NoError(t, err)
	require.NoError(t, os.Remove(m.path("bosh/spec.json")))
	require.NoError(t, os.Mkdir(m.path("bosh/spec.json"), 0o755))
	require.Error(t, m.MakeDirs(), "a disk that is broken is another matter")
}
