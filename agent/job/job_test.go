package job_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) {
	if base := os.Getenv(childBase); base != "" {
		applyUntilKilled(base)
		return
	}
	goleak.VerifyTestMain(m)
}

// A machine is a base directory with an installer.
type machine struct {
	t     *testing.T
	base  string
	blobs *blobtest.Blobs
	specs *spec.Store
	job.Config
	*job.Installer
}

func newMachine(t *testing.T) *machine {
	base := t.TempDir()
	m := &machine{t: t, base: base, blobs: &blobtest.Blobs{}, specs: spec.NewStore(base)}
	m.Config = job.Config{Base: base, Blobs: m.blobs, Specs: m.specs, SystemRoot: filepath.Join(base, "root")}
	require.NoError(t, os.Mkdir(m.Config.SystemRoot, 0o755))
	m.restart()
	return m
}

func (m *machine) restart() {
	installer, err := job.New(m.Config)
	require.NoError(m.t, err)
	m.Installer = installer
}

func (m *machine) path(name string) string { return filepath.Join(m.base, name) }

// wants makes a spec of jobs and packages, "name/version" each, whose blobs are there.
func wants(t *testing.T, blobs *blobtest.Blobs, jobs, packages []string) spec.Spec {
	s := spec.Spec{Deployment: "d", Name: "router", ID: "6f1c", AZ: "z1", ConfigurationHash: "h", Packages: map[string]spec.Package{}}
	files := blobtest.Files{"./": ""}
	for _, j := range jobs {
		name, version, _ := strings.Cut(j, "/")
		s.Job.Templates = append(s.Job.Templates, spec.Template{Name: name, Version: version})
		for file, content := range map[string]string{"/": "", "/bin/": "", "/bin/ctl": "#!/bin/bash\n" + j, "/monit": "check " + j, "/config/deep/c.yml": j,
			"/more.monit": "check more " + j, "/link": "-> config/deep"} {
			files[name+file] = content
		}
	}
	if len(jobs) > 0 {
		id := "templates-" + strings.ReplaceAll(strings.Join(jobs, "-"), "/", "_")
		s.RenderedTemplates = &spec.Archive{BlobID: id, SHA1: blobs.Add(id, blobtest.Tgz(t, "", files))}
	}
	for _, p := range packages {
		name, version, _ := strings.Cut(p, "/")
		id := "package-" + name + "-" + version
		archive := blobtest.Tgz(t, "./", blobtest.Files{"": "", "bin/": "", "bin/" + name: p, "lib": "-> /var/vcap/packages/other", "data": strings.Repeat(p, 20000)})
		s.Packages[name] = spec.Package{Name: name, Version: version, BlobID: id, SHA1: blobs.Add(id, archive)}
	}
	return s
}

// hashed is the directory name of a version with a digest.
func hashed(version, d string) string {
	sum := sha1.Sum([]byte(version + "-" + d))
	return hex.EncodeToString(sum[:])
}

// tree lists what is below a directory, links with their targets and files with their sizes.
func tree(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %s", info.Mode(), strings.TrimPrefix(name, dir))
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			line += " -> " + target
		case 0:
			line += fmt.Sprintf(" %d", info.Size())
		}
		all = append(all, line)
		return nil
	})
	require.NoError(t, err)
	return all
}

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
