package oci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/oci"
	"github.com/deakit/deakit/internal/testapp"
)

func TestMain(m *testing.M) {
	testapp.Main()
	goleak.VerifyTestMain(m)
}

var then = time.Date(2014, 2, 1, 10, 0, 0, 0, time.UTC)

const stagingInfo = `---
detected_buildpack: Ruby/Rack
start_command: bin/web --port $PORT
effective_procfile: {web: bin/web, worker: bin/work}
buildpacks: [{key: b1, name: ruby, version: "1.2"}]
`

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

// stage makes a droplet of some files, those that end in a slash being directories, and staging_info.yml.
func stage(t testing.TB, files map[string]string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755))
	}
	for _, name := range []string{"app", "logs", "tmp"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	require.NoError(t, os.Symlink("/usr/bin/ruby", dir+"/app/ruby"))
	var out bytes.Buffer
	_, err := droplet.Pack(context.Background(), &out, openRoot(t, dir), ".", droplet.PackOptions{})
	require.NoError(t, err)
	return out.Bytes()
}

func sample(t testing.TB) []byte {
	return stage(t, map[string]string{
		"staging_info.yml": stagingInfo, "app/bin/web": "#!/bin/sh\n", "app/.profile.d/a.sh": "export A=1",
		"logs/staging_task.log": "-----> Downloaded",
	})
}

func exportDir(t testing.TB, d []byte, opts oci.Options) (*os.Root, oci.Exported) {
	t.Helper()
	root := openRoot(t, t.TempDir())
	exported, err := oci.Export(t.Context(), oci.Dir(root), bytes.NewReader(d), opts)
	require.NoError(t, err)
	return root, exported
}

func open(t testing.TB, root *os.Root) *oci.Image {
	t.Helper()
	image, err := oci.OpenDir(root, oci.OpenOptions{})
	require.NoError(t, err)
	return image
}

func back(t testing.TB, image *oci.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	digest, err := image.Droplet(t.Context(), &out, oci.ImportOptions{})
	require.NoError(t, err)
	hashed, err := droplet.Hash(bytes.NewReader(out.Bytes()))
	require.NoError(t, err)
	assert.Equal(t, hashed, digest)
	return out.Bytes()
}

// tree lists a directory: names and content.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if entry.Type() == os.ModeSymlink {
			all[rel], err = os.Readlink(name)
			return err
		}
		data, err := os.ReadFile(name)
		all[rel] = string(data)
		return err
	}))
	return all
}

// tarOf makes a plain tar stream.
func tarOf(t testing.TB, members ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, hdr := range members {
		if hdr.Mode == 0 {
			hdr.Mode = 0o755
		}
		require.NoError(t, w.WriteHeader(hdr))
		_, err := io.CopyN(w, zeros{}, hdr.Size)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func dir(name string) *tar.Header { return &tar.Header{Typeflag: tar.TypeDir, Name: name + "/"} }

func file(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size}
}

func link(kind byte, name, to string) *tar.Header {
	return &tar.Header{Typeflag: kind, Name: name, Linkname: to}
}
