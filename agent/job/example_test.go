package job_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/spec"
)

// A single blob, whatever is asked for.
type oneBlob []byte

func (b oneBlob) Get(_ context.Context, s spec.Source) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b)), s.Digest.Verify(bytes.NewReader(b))
}

func (oneBlob) Forget(context.Context, string) error { return nil }

func Example() {
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	t := tar.NewWriter(z)
	const text = "check process web with pidfile /var/vcap/sys/run/web/web.pid"
	_ = t.WriteHeader(&tar.Header{Name: "web/monit", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))})
	_, _ = t.Write([]byte(text))
	_ = t.Close()
	_ = z.Close()

	base, err := os.MkdirTemp("", "vcap")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(base)
	installer, err := job.New(job.Config{Base: base, Blobs: oneBlob(archive.Bytes()), Specs: spec.NewStore(base)})
	if err != nil {
		panic(err)
	}
	var s spec.Spec
	err = json.Unmarshal(fmt.Appendf(nil, `{"deployment":"d","configuration_hash":"1","job":{"templates":[{"name":"web","version":"1"}]},
		"rendered_templates_archive":{"blobstore_id":"b","sha1":"%x"}}`, sha1.Sum(archive.Bytes())), &s)
	if err != nil {
		panic(err)
	}
	fmt.Println(installer.Apply(context.Background(), s))
	files, err := installer.MonitFiles()
	fmt.Printf("%04d_%s %s %v\n", files[0].Index, files[0].Label, files[0].Content, err)
	_, err = os.Stat(filepath.Join(base, "jobs/web/monit"))
	fmt.Println(err)
	// Output:
	// applied <nil>
	// 0000_web check process web with pidfile /var/vcap/sys/run/web/web.pid <nil>
	// <nil>
}
