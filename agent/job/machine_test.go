package job_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/spec"
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
