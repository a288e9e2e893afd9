package job_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/spec"
)

// BenchmarkApply installs a job and 50 packages of 40 files, 400 KB each, into an empty directory.
func BenchmarkApply(b *testing.B) {
	blobs := &blobtest.Blobs{}
	s := spec.Spec{ConfigurationHash: "h", Packages: map[string]spec.Package{}}
	for n := range 50 {
		files := blobtest.Files{"": ""}
		for f := range 40 {
			files[fmt.Sprintf("lib/%d.rb", f)] = strings.Repeat(fmt.Sprintf("def m%d_%d; end\n", n, f), 640)
		}
		name := fmt.Sprintf("p%d", n)
		s.Packages[name] = spec.Package{Name: name, Version: "1", BlobID: name, SHA1: blobs.Add(name, blobtest.Tgz(b, "./", files))}
	}
	s.Job.Templates = []spec.Template{{Name: "web", Version: "1"}}
	s.RenderedTemplates = &spec.Archive{BlobID: "t", SHA1: blobs.Add("t", blobtest.Tgz(b, "", blobtest.Files{"web/monit": "m"}))}
	top := b.TempDir()
	for n := 0; b.Loop(); n++ {
		base := filepath.Join(top, fmt.Sprint(n))
		if err := os.Mkdir(base, 0o755); err != nil {
			b.Fatal(err)
		}
		installer, err := job.New(job.Config{Base: base, Blobs: blobs, Specs: spec.NewStore(base)})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := installer.Apply(context.Background(), s); err != nil {
			b.Fatal(err)
		}
	}
}
