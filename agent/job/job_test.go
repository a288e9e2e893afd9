package job_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/internal/needs"
)

func TestApply(t *testing.T) {
	m := newMachine(t)
	s := wants(t, m.blobs, []string{"gorouter/77"}, []string{"go/1.2", "ruby/3"})
	result, err := m.Apply(t.Context(), s)
	require.NoError(t, err)
	assert.Equal(t, "applied", result)

	jobDir := "data/jobs/gorouter/" + hashed("77", s.RenderedTemplates.SHA1)
	goDir := "packages/go/" + hashed("1.2", s.Packages["go"].SHA1)
	for name, target := range map[string]string{
		"jobs/gorouter":             m.path(jobDir),
		"packages/go":               m.path("data/" + goDir),
		"jobs/gorouter/packages/go": m.path("data/" + goDir),
		"sys":                       m.path("data/sys"),
	} {
		got, err := filepath.EvalSymlinks(m.path(name))
		require.NoError(t, err)
		assert.Equal(t, target, got)
	}
	for name, mode := range map[string]fs.FileMode{
		jobDir: 0o750, "data/jobs/gorouter": 0o750, jobDir + "/bin": 0o750, jobDir + "/bin/ctl": 0o750, jobDir + "/monit": 0o640, jobDir + "/config/deep": 0o750,
		jobDir + "/config/deep/c.yml": 0o640, "data/" + goDir: 0o755, "data/" + goDir + "/bin/go": 0o755,
		"data/sys/log/gorouter": 0o770, "data/sys/run/gorouter": 0o770, "data/gorouter": 0o770,
	} {
		info, err := os.Stat(m.path(name))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), name)
	}
	data, err := os.ReadFile(m.path("jobs/gorouter/packages/ruby/bin/ruby"))
	require.NoError(t, err)
	assert.Equal(t, "ruby/3", string(data))
	assert.Equal(t, []string{s.RenderedTemplates.BlobID}, m.blobs.Forgotten())

	kept, err := m.specs.Load()
	require.NoError(t, err)
	assert.Equal(t, s.ID, kept.ID)
	files, err := m.MonitFiles()
	require.NoError(t, err)
	assert.Equal(t, []job.MonitFile{
		{Index: 0, Label: "gorouter", Content: []byte("check gorouter/77")},
		{Index: 0, Label: "gorouter_more", Content: []byte("check more gorouter/77")},
	}, files)
}

func TestArchivesWithAndWithoutDot(t *testing.T) {
	var trees [2][]string
	for i, prefix := range []string{"", "./"} {
		m := newMachine(t)
		s := wants(t, m.blobs, []string{"a/1"}, nil)
		archive := blobtest.Tgz(t, prefix, blobtest.Files{"a/": "", "a/bin/run": "x", "a/monit": "y"})
		s.RenderedTemplates.SHA1 = m.blobs.Add(s.RenderedTemplates.BlobID, archive)
		_, err := m.Apply(t.Context(), s)
		require.NoError(t, err)
		dir, err := filepath.EvalSymlinks(m.path("jobs/a"))
		require.NoError(t, err)
		trees[i] = tree(t, dir)
	}
	assert.Equal(t, trees[0], trees[1])
	assert.Len(t, trees[0], 5, "the job, bin, bin/run, monit and packages")
}

func TestSecondApplyRemovesWhatIsNotWanted(t *testing.T) {
	m := newMachine(t)
	_, err := m.Apply(t.Context(), wants(t, m.blobs, []string{"a/1", "b/1"}, []string{"p/1", "q/1"}))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(m.path("jobs/mine"), nil, 0o644)) // is no link: not ours
	require.NoError(t, os.Symlink("nowhere", m.path("packages/dangling")))
	s := wants(t, m.blobs, []string{"b/2"}, []string{"q/2", "r/1"})
	_, err = m.Apply(t.Context(), s)
	require.NoError(t, err)

	for dir, want := range map[string][]string{
		"jobs": {"b", "mine"}, "packages": {"q", "r"}, "data/jobs": {"b"}, "data/packages": {"q", "r"},
		"data/jobs/b": {hashed("2", s.RenderedTemplates.SHA1)}, "data/packages/q": {hashed("2", s.Packages["q"].SHA1)}, "jobs/b/packages": {"q", "r"},
	} {
		assert.Equal(t, want, list(t, m.path(dir)), dir)
	}
	assert.DirExists(t, m.path("data/sys/log/a"), "logs stay")

	_, err = m.Apply(t.Context(), wants(t, m.blobs, nil, nil))
	require.NoError(t, err)
	assert.Empty(t, list(t, m.path("data/packages")))
	assert.Empty(t, list(t, m.path("packages")))
	assert.Empty(t, list(t, m.path("data/jobs")))
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestApplyWithoutConfigurationHash(t *testing.T) {
	m := newMachine(t)
	_, err := m.Apply(t.Context(), wants(t, m.blobs, []string{"a/1"}, []string{"p/1"}))
	require.NoError(t, err)
	before := tree(t, m.path("data"))
	s := wants(t, m.blobs, []string{"other/1"}, []string{"more/1"})
	s.ConfigurationHash = ""
	m.blobs.Gets()
	result, err := m.Apply(t.Context(), s)
	require.NoError(t, err)
	assert.Equal(t, "applied", result)
	assert.Equal(t, before, tree(t, m.path("data")))
	assert.Empty(t, m.blobs.Gets())
	kept, err := m.specs.Load()
	require.NoError(t, err)
	assert.Contains(t, kept.Packages, "more")
	files, err := m.MonitFiles()
	require.NoError(t, err)
	assert.Empty(t, files, "the job of the spec is not installed")
}

func TestPrepareThenApply(t *testing.T) {
	m := newMachine(t)
	s := wants(t, m.blobs, []string{"a/1", "b/1"}, []string{"p/1"})
	result, err := m.Prepare(t.Context(), s)
	require.NoError(t, err)
	assert.Equal(t, "prepared", result)
	assert.Equal(t, []string{"package-p-1", s.RenderedTemplates.BlobID}, m.blobs.Gets(), "one archive for all jobs")
	assert.Equal(t, []string{s.RenderedTemplates.BlobID}, m.blobs.Forgotten())
	assert.NoDirExists(t, m.path("jobs"))
	assert.NoDirExists(t, m.path("packages"))
	assert.NoFileExists(t, m.path("bosh/spec.json"))

	_, err = m.Apply(t.Context(), s)
	require.NoError(t, err)
	assert.Empty(t, m.blobs.Gets())
	assert.FileExists(t, m.path("jobs/a/packages/p/bin/p"))
}

func TestWrongDigest(t *testing.T) {
	m := newMachine(t)
	s := wants(t, m.blobs, []string{"a/1"}, []string{"good/1", "bad/1"})
	sum := m.blobs.Add("package-bad-1", []byte("other"))
	_, err := m.Apply(t.Context(), s)
	var mismatch *digest.MismatchError
	require.ErrorAs(t, err, &mismatch)
	assert.Equal(t, s.Packages["bad"].SHA1, mismatch.Expected.Hex)
	assert.Equal(t, sum, mismatch.Actual.Hex)
	assert.ErrorContains(t, err, "installing package 'bad'")
	assert.NoDirExists(t, m.path("data/packages/bad"))
	assert.NoFileExists(t, m.path("bosh/spec.json"))
	clean(t, m.base)
}

// clean tells whether nothing half-done is left.
func clean(t *testing.T, base string) {
	t.Helper()
	for _, line := range tree(t, base) {
		assert.NotContains(t, line, ".aside-")
		assert.NotContains(t, line, ".incoming-")
	}
}

// A monitor remembers what it is told.
type monitor struct {
	calls  []string
	reload error
}

func (m *monitor) RemoveJobs() error            { m.calls = append(m.calls, "remove"); return nil }
func (m *monitor) Reload(context.Context) error { m.calls = append(m.calls, "reload"); return m.reload }

func TestMonitorAndLogs(t *testing.T) {
	m := newMachine(t)
	watch := &monitor{}
	m.Config.Monitor = watch
	m.restart()
	s := wants(t, m.blobs, []string{"a/1", "b/1", "c/1"}, nil)
	_, err := m.Apply(t.Context(), s)
	require.NoError(t, err)
	assert.Equal(t, []string{"remove", "reload"}, watch.calls)
	files, err := m.MonitFiles()
	require.NoError(t, err)
	var labels []string
	for _, f := range files {
		labels = append(labels, fmt.Sprintf("%04d_%s", f.Index, f.Label))
	}
	assert.Equal(t, []string{"0000_c", "0000_c_more", "0001_b", "0001_b_more", "0002_a", "0002_a_more"}, labels)

	rotation := m.path("root/etc/logrotate.d/vcap")
	text, err := os.ReadFile(rotation)
	require.NoError(t, err)
	assert.Contains(t, string(text), "size 50M\n")
	assert.Contains(t, string(text), `"`+m.base+`/data/sys/log/*/*/*.log"`)
	s.Properties = json.RawMessage(`{"logging":{"max_log_file_size":"3k"}}`)
	_, err = m.Apply(t.Context(), s)
	require.NoError(t, err)
	text, err = os.ReadFile(rotation)
	require.NoError(t, err)
	assert.Contains(t, string(text), "size 3k\n")
	s.Properties = json.RawMessage(`{"logging":{"max_log_file_size":"3k\n}\n/etc/shadow {"}}`)
	_, err = m.Apply(t.Context(), s)
	require.ErrorIs(t, err, spec.ErrInvalid)

	watch.reload = errors.New("monit is gone")
	s.Properties = nil
	s.ID = "never kept"
	_, err = m.Apply(t.Context(), s)
	require.ErrorIs(t, err, watch.reload)
	kept, err := m.specs.Load()
	require.NoError(t, err)
	assert.NotEqual(t, s.ID, kept.ID, "after an error the spec before is kept")
}

func TestMakeDirs(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, m.MakeDirs())
	assert.DirExists(t, m.path("sys/log"))
	_, err := m.Apply(t.Context(), wants(t, m.blobs, []string{"a/1"}, nil))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(m.path("data/sys/run"))) // as with the memory that it is kept in
	require.NoError(t, m.MakeDirs())
	assert.DirExists(t, m.path("sys/run/a"))
}

func TestGivingUp(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the agent ends")
	cancel(why)
	_, err := m.Apply(ctx, wants(t, m.blobs, []string{"a/1"}, []string{"p/1"}))
	require.ErrorIs(t, err, why)
	clean(t, m.base)
	_, err = job.New(job.Config{})
	require.Error(t, err)
}

// TestTurns has many at work on one directory.
func TestTurns(t *testing.T) {
	m := newMachine(t)
	specs := []spec.Spec{
		wants(t, m.blobs, []string{"a/1"}, []string{"p/1", "q/1"}), wants(t, m.blobs, []string{"a/2", "b/1"}, []string{"p/2"}),
	}
	done := make(chan error)
	for n := range 6 {
		go func() {
			_, err := m.Apply(t.Context(), specs[n%2])
			done <- err
		}()
	}
	for range 6 {
		require.NoError(t, <-done)
	}
	_, err := m.Apply(t.Context(), specs[0])
	require.NoError(t, err)
	assert.Equal(t, []string{"p", "q"}, list(t, m.path("data/packages")))
	assert.Len(t, list(t, m.path("data/packages/p")), 1)
}

// TestOwners: what is installed belongs to the owner, whatever the archive says.
func TestOwners(t *testing.T) {
	needs.Root(t)
	m := newMachine(t)
	m.Config.Owner = &job.Owner{UID: 0, GID: 4711}
	m.restart()
	_, err := m.Apply(t.Context(), wants(t, m.blobs, []string{"a/1"}, []string{"p/1"}))
	require.NoError(t, err)
	for _, name := range []string{"jobs/a/", "jobs/a/bin/ctl", "jobs/a/monit", "packages/p/bin/p", "packages/p/", "data/sys/log/a", "data/a", "data/jobs/a"} {
		info, err := os.Stat(m.path(name))
		require.NoError(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		assert.Equal(t, []uint32{0, 4711}, []uint32{stat.Uid, stat.Gid}, name)
	}
}
