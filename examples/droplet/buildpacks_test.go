package main

import (
	"archive/zip"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// zipped writes a directory as a zip file, with a directory around it as code hosts do.
func (d *desk) zipped(dir, name string) string {
	d.t.Helper()
	file, err := os.Create(d.path(name))
	require.NoError(d.t, err)
	defer file.Close()
	archive := zip.NewWriter(file)
	scripts, err := filepath.Glob(filepath.Join(dir, "bin", "*"))
	require.NoError(d.t, err)
	for _, script := range scripts {
		content, err := os.ReadFile(script)
		require.NoError(d.t, err)
		header := &zip.FileHeader{Name: "around/bin/" + filepath.Base(script)}
		header.SetMode(0o755)
		member, err := archive.CreateHeader(header)
		require.NoError(d.t, err)
		_, err = member.Write(content)
		require.NoError(d.t, err)
	}
	require.NoError(d.t, archive.Close())
	return file.Name()
}

func TestWhereBuildpacksComeFrom(t *testing.T) {
	git := needs.Tool(t, "git", "git")
	d := newDesk(t)
	d.file("app/x", "")
	dir := d.pack("bp", "detect", "echo Mine", "compile", "echo at work", "release", "echo 'default_process_types: {web: serve}'")
	archive := d.zipped(dir, "bp.zip")
	server := httptest.NewServer(http.FileServer(http.Dir(d.dir)))
	defer server.Close()
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "x"}, {"tag", "v1"},
	} {
		c := exec.Command(git, args...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	digest := digestOf(t, archive)
	for _, name := range []string{
		dir, "bp", "bp.zip", "bp.zip#sha256=" + digest, server.URL + "/bp.zip", server.URL + "/bp.zip#sha256=" + digest,
		"file://" + dir, "file://" + dir + "#v1",
	} {
		report := told[stagingJSON](t, d.succeeds("stage", "app", "-b", name, "--backend", "process", "--json", "--no-cache"))
		assert.Equal(t, "serve", report.Command, name)
	}
	report := told[stagingJSON](t, d.succeeds("stage", "app", "-b", "python", "-b", archive, "--detect", "--backend", "process", "--json"))
	assert.Equal(t, "Mine", report.Detected)
	for _, name := range []string{server.URL + "/gone.zip", server.URL + "/bp.zip#sha256=" + digestOf(t, d.path("bp/bin/detect")), "file://" + dir + "#v2"} {
		code, _, errs := d.run("stage", "app", "-b", name, "--backend", "process")
		assert.Equal(t, exitFetch, code, "%s: %s", name, errs)
	}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, ".git")))
}

// TestSeveralBuildpacks has one supply what another one uses, in staging and when the app runs.
func TestSeveralBuildpacks(t *testing.T) {
	d := newDesk(t)
	d.file("app/x", "")
	supply := `mkdir -p $3/$4/bin && printf '#!/bin/sh\necho "tool says $*"\n' >$3/$4/bin/tool && chmod +x $3/$4/bin/tool && printf 'name: Tools\nversion: "7"\n' >$3/$4/config.yml`
	first := d.pack("first", "supply", supply)
	last := d.pack("last", "supply", "true", "finalize", `$3/0/bin/tool at staging; echo 'PATH=$DEPS_DIR/0/bin:$PATH' >$5/path.sh`,
		"release", "echo 'default_process_types: {worker: tool at run}'")
	archive := d.zipped(first, "first.zip")
	for _, name := range []string{first, archive} {
		code, out, errs := d.run("stage", "app", "-b", name, "-b", last, "--backend", "process", "--json")
		require.Equal(t, exitOK, code, errs)
		assert.Contains(t, errs, "tool says at staging\n")
		report := told[stagingJSON](t, out)
		require.Len(t, report.Buildpacks, 2)
		assert.Equal(t, "Tools", report.Buildpacks[0]["name"])
		assert.Equal(t, "7", report.Buildpacks[0]["version"])
		code, out, errs = d.run("run", "droplet.tgz", "-t", "worker", "--backend", "process")
		assert.Equal(t, exitOK, code, errs)
		assert.Equal(t, "tool says at run\n", out)
	}
	compiles := d.pack("compiles", "compile", "true")
	code, _, errs := d.run("stage", "app", "-b", compiles, "-b", last, "--backend", "process")
	assert.Equal(t, exitFetch, code, errs)
	assert.Contains(t, errs, "does not support multi-buildpack apps")
}

// TestSamples stages the apps that come with the samples. The same source gives the same bytes where that was asked for.
func TestSamples(t *testing.T) {
	needs.Tool(t, "python3", "python3")
	d := newDesk(t)
	app, err := filepath.Abs("../apps/python")
	require.NoError(t, err)
	for _, flags := range [][]string{{}, {"-b", "python"}} {
		digests := map[string]bool{}
		for range 2 {
			flags := append([]string{"stage", app, "--backend", "process", "--json", "--zstd", "-o", "python.tar.zst", "--time", "1577836800"}, flags...)
			report := told[stagingJSON](t, d.succeeds(flags...))
			digests[report.Droplet.SHA256] = true
			assert.Equal(t, "python", report.Buildpacks[0]["key"])
		}
		assert.Len(t, digests, 1)
		assert.Contains(t, d.succeeds("verify", "python.tar.zst"), ", zstd\n")
	}
}
