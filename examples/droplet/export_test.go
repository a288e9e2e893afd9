package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// packed writes a droplet in the form in which this program packs them.
func (d *desk) packed(name string) string {
	d.t.Helper()
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	d.archive("loose.tgz", dir("./"), dir("./app/"), member("./app/a", "content"), member("./staging_info.yml", infoYAML))
	d.succeeds("repack", "loose.tgz", "-o", name)
	return d.path(name)
}

type imageJSON struct {
	Image struct {
		Path   string `json:"path"`
		Digest string `json:"digest"`
		ID     string `json:"id"`
		Size   int64  `json:"size"`
	} `json:"image"`
}

func TestExportAndImport(t *testing.T) {
	skopeo := needs.Tool(t, "skopeo", "skopeo")
	for name, open := range users {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			require.NoError(t, os.Chmod(d.dir, 0o777))
			file := d.packed("x.tgz")
			layout := told[imageJSON](t, d.succeeds("export", "x.tgz", "--oci", "layout", "--json"))
			assert.Equal(t, "layout", layout.Image.Path)
			assert.Regexp(t, `^sha256:[0-9a-f]{64}$`, layout.Image.Digest)
			require.NoError(t, os.Mkdir(d.path("again"), 0o777))
			require.NoError(t, os.Chmod(d.path("again"), 0o777))
			again := told[imageJSON](t, d.succeeds("export", "x.tgz", "--oci", "again", "--json"))
			assert.Equal(t, layout.Image.Digest, again.Image.Digest, "the same droplet gives the same image")
			out := d.succeeds("export", "x.tgz", "--oci-archive", "layout.tar", "--ref", "my:1")
			assert.Contains(t, out, "digest  "+layout.Image.Digest)
			docker := told[imageJSON](t, d.succeeds("export", "x.tgz", "--docker-archive", "docker.tar", "--json"))
			assert.Empty(t, docker.Image.Digest)
			assert.Equal(t, layout.Image.ID, docker.Image.ID)

			for _, image := range []string{"oci:" + d.path("layout") + ":latest", "oci-archive:" + d.path("layout.tar"), "docker-archive:" + d.path("docker.tar")} {
				out, err := exec.Command(skopeo, "inspect", "--config", image).CombinedOutput()
				require.NoError(t, err, "%s", out)
				assert.Contains(t, string(out), "deakit.droplet.process-types")
			}
			for _, image := range []string{"layout", "layout.tar", "docker.tar"} {
				d.succeeds("import", image, "-o", "back.tgz")
				assert.Equal(t, digestOf(t, file), digestOf(t, d.path("back.tgz")), image)
			}
			code, _, errs := d.run("import", "layout", "-o", "back.tgz", "--zstd")
			assert.Equal(t, exitOK, code)
			assert.Contains(t, errs, "The bytes are others than those of the droplet that the image was made of (sha256 "+digestOf(t, file))
			assert.Contains(t, d.succeeds("verify", "back.tgz"), ", zstd\n")
			d.succeeds("export", "back.tgz", "--oci", "zstd")
			code, _, errs = d.run("import", "zstd", "-o", "back-again")
			assert.Equal(t, exitOK, code)
			assert.Empty(t, errs)
			assert.Equal(t, digestOf(t, d.path("back.tgz")), digestOf(t, d.path("back-again")), "the format is kept")

			based := told[imageJSON](t, d.succeeds("export", "x.tgz", "--oci", "based", "--base", "layout.tar", "--base-ref", "my:1", "-t", "worker", "--json"))
			assert.NotEqual(t, layout.Image.ID, based.Image.ID)
			assert.Greater(t, based.Image.Size, layout.Image.Size)
			d.succeeds("import", "based", "-o", "back.tgz")
			assert.Equal(t, digestOf(t, file), digestOf(t, d.path("back.tgz")), "without the base")
		})
	}
}

func TestExportFails(t *testing.T) {
	d := newDesk(t)
	d.packed("x.tgz")
	d.succeeds("export", "x.tgz", "--oci", "layout")
	d.succeeds("export", "x.tgz", "--oci", "bad")
	blobs, err := filepath.Glob(d.path("bad", "blobs", "sha256", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, blobs)
	for _, blob := range blobs {
		data, err := os.ReadFile(blob)
		require.NoError(t, err)
		data[len(data)/2] ^= 1
		require.NoError(t, os.WriteFile(blob, data, 0o644))
	}
	d.file("text", "no archive")
	d.file("empty/oci-layout", "")
	d.archive("source.tgz", member("./app.py", ""))
	for _, tc := range []struct {
		want int
		args []string
	}{
		{exitUsage, []string{"export", "x.tgz"}},
		{exitUsage, []string{"export", "x.tgz", "--oci", "a", "--docker-archive", "b"}},
		{exitUsage, []string{"export", "x.tgz", "--oci", "layout"}},
		{exitUsage, []string{"export", "x.tgz", "--oci", "gone/layout"}},
		{exitUsage, []string{"export", "x.tgz", "--docker-archive", "layout"}},
		{exitUsage, []string{"export", "x.tgz", "--oci", "new", "-t", "nope"}},
		{exitUsage, []string{"export", "x.tgz", "--oci", "new", "--base", "gone"}},
		{exitUsage, []string{"export", "gone.tgz", "--oci", "new"}},
		{exitUsage, []string{"export", "x.tgz", "--oci", "new", "--ref", "bad ref!"}},
		{exitUsage, []string{"export", "x.tgz", "--docker-archive", "new", "--ref", "no-tag"}},
		{exitUsage, []string{"import", "layout", "--gzip", "--zstd", "-o", "new"}},
		{exitDroplet, []string{"export", "source.tgz", "--oci", "new"}},
		{exitDroplet, []string{"export", "text", "--oci", "new"}},
		{exitDroplet, []string{"export", "x.tgz", "--oci", "new", "--base", "text"}},
		{exitDroplet, []string{"export", "x.tgz", "--oci", "new", "--base", "bad"}},
		{exitDroplet, []string{"export", "x.tgz", "--oci", "new", "--base", "layout", "--base-ref", "nope"}},
		{exitUsage, []string{"import", "gone", "-o", "new"}},
		{exitDroplet, []string{"import", "text", "-o", "new"}},
		{exitDroplet, []string{"import", "empty", "-o", "new"}},
		{exitDroplet, []string{"import", "bad", "-o", "new"}},
		{exitDroplet, []string{"import", "layout", "--ref", "nope", "-o", "new"}},
		{exitUsage, []string{"import", "layout", "-o", "layout"}},
	} {
		code, out, errs := d.run(tc.args...)
		assert.Equal(t, tc.want, code, "%q: %s", tc.args, errs)
		assert.Empty(t, out)
		assert.NotEmpty(t, errs)
		assert.NoFileExists(t, d.path("new"))
		assert.NoDirExists(t, d.path("new"))
	}
}

// TestImagesAreNoDroplets tells what to do with one.
func TestImagesAreNoDroplets(t *testing.T) {
	d := newDesk(t)
	d.packed("x.tgz")
	d.succeeds("export", "x.tgz", "--oci", "layout")
	d.succeeds("export", "x.tgz", "--oci-archive", "layout.tar", "--ref", "mine")
	for _, command := range []string{"run", "inspect", "verify"} {
		code, _, errs := d.run(command, "layout")
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, errs, "layout is an image\ndroplet: make a droplet of it first: droplet import layout\n")
		code, _, errs = d.run(command, "layout.tar")
		assert.Equal(t, exitDroplet, code)
		assert.Contains(t, errs, "to make a droplet of an image: droplet import\n")
	}
	code, _, errs := d.run("export", "x.tgz", "--oci", "new", "--base", "layout.tar", "--base-ref", "other")
	assert.Equal(t, exitDroplet, code)
	assert.Contains(t, errs, `there is "mine"`)
}

// TestSignalsWhileFilesAreWritten ends the commands that write large files amid their work.
func TestSignalsWhileFilesAreWritten(t *testing.T) {
	d := newDesk(t)
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	content := make([]byte, 64<<20)
	_, _ = rand.Read(content) // never fails
	for _, m := range []struct{ name, text string }{{"./staging_info.yml", infoYAML}, {"./app/a", string(content)}} {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: m.name, Mode: 0o644, Size: int64(len(m.text))}))
		_, err := w.Write([]byte(m.text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	require.NoError(t, os.WriteFile(d.path("x.tgz"), out.Bytes(), 0o644))
	d.succeeds("export", "x.tgz", "--oci", "layout")
	for _, args := range [][]string{
		{"export", "x.tgz", "--oci", "new"}, {"export", "x.tgz", "--docker-archive", "new"}, {"import", "layout", "-o", "new"},
		{"run", "x.tgz", "--backend", "process"},
	} {
		p := d.start(args...)
		require.Eventually(t, func() bool {
			found, err := filepath.Glob(d.path("tmp", workPrefix+"*", workLock))
			return err == nil && len(found) > 0
		}, patience, time.Millisecond)
		p.signal(os.Interrupt)
		assert.Equal(t, exitSignal, p.wait(), "%q: %s", args, p.err)
		d.nothingLeft()
		assert.NoFileExists(t, d.path("new"))
		assert.NoDirExists(t, d.path("new"))
	}
}
