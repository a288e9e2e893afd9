package compile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/compile"
	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) {
	if base := os.Getenv(childBase); base != "" {
		compileUntilKilled(base)
		return
	}
	goleak.VerifyTestMain(m)
}

// A machine is a base directory with a compiler.
type machine struct {
	t     *testing.T
	base  string
	blobs *blobtest.Blobs
	compile.Config
	*compile.Compiler
}

func newMachine(t *testing.T) *machine {
	needs.Tool(t, "bash", "bash")
	m := &machine{t: t, base: t.TempDir(), blobs: &blobtest.Blobs{}}
	m.Config = compile.Config{Base: m.base, Blobs: m.blobs, MaxUsed: -1, Grace: 50 * time.Millisecond}
	m.restart()
	return m
}

func (m *machine) restart() {
	compiler, err := compile.New(m.Config)
	require.NoError(m.t, err)
	m.Compiler = compiler
}

// source stores a source package with a script and returns its digest.
func (m *machine) source(script string) (sha1 string) {
	return m.blobs.Add("source", blobtest.Tgz(m.t, "./", blobtest.Files{"": "", "packaging": script, "src/a.c": "int a;"}))
}

// dependency stores a compiled package.
func (m *machine) dependency(name string) compile.Dependency {
	sha1 := m.blobs.Add("dep-"+name, blobtest.Tgz(m.t, "./", blobtest.Files{"": "", "bin/" + name: "#!/bin/bash\necho I am " + name}))
	return compile.Dependency{Name: name, Version: "1", SHA1: sha1, BlobID: "dep-" + name}
}

// nothing tells whether nothing is left of a compilation but its logs.
func (m *machine) nothing() {
	m.t.Helper()
	assert.NoDirExists(m.t, filepath.Join(m.base, "data/compile"))
	for _, dir := range []string{"data/packages", "packages"} {
		entries, err := os.ReadDir(filepath.Join(m.base, dir))
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(m.t, err)
		}
		assert.Empty(m.t, entries, dir)
	}
}

func (m *machine) log(stream string) string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.base, "sys/log/compilation/packaging."+stream+".log"))
	require.NoError(m.t, err)
	return string(data)
}

// installed applies a spec of one job with packages p and r, and returns what belongs to it.
func installed(t *testing.T, base string, blobs *blobtest.Blobs) func() []string {
	t.Helper()
	s := spec.Spec{ConfigurationHash: "h", Packages: map[string]spec.Package{}}
	for _, name := range []string{"p", "r"} {
		sha1 := blobs.Add("installed-"+name, blobtest.Tgz(t, "", blobtest.Files{"bin/" + name: "x"}))
		s.Packages[name] = spec.Package{Name: name, Version: "0", BlobID: "installed-" + name, SHA1: sha1}
	}
	s.Job.Templates = []spec.Template{{Name: "web", Version: "1"}}
	s.RenderedTemplates = &spec.Archive{BlobID: "t", SHA1: blobs.Add("t", blobtest.Tgz(t, "", blobtest.Files{"web/monit": "m"}))}
	installer, err := job.New(job.Config{Base: base, Blobs: blobs, Specs: spec.NewStore(base)})
	require.NoError(t, err)
	_, err = installer.Apply(t.Context(), s)
	require.NoError(t, err)
	return func() (all []string) {
		for _, dir := range []string{"data/packages", "packages", "data/jobs", "jobs"} {
			require.NoError(t, filepath.WalkDir(filepath.Join(base, dir), func(name string, entry fs.DirEntry, err error) error {
				target, _ := os.Readlink(name)
				all = append(all, name+" "+target)
				return err
			}))
		}
		return all
	}
}
