package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// archive writes a gzip-compressed tar file.
func (d *desk) archive(name string, members ...tar.Header) string {
	d.t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, hdr := range members {
		content := hdr.Linkname
		if hdr.Typeflag == tar.TypeReg { // whose content is given in place of a link
			hdr.Size, hdr.Linkname = int64(len(content)), ""
		} else {
			content = ""
		}
		require.NoError(d.t, w.WriteHeader(&hdr))
		_, err := w.Write([]byte(content))
		require.NoError(d.t, err)
	}
	require.NoError(d.t, w.Close())
	require.NoError(d.t, z.Close())
	return d.file(name, out.String())
}

// member is a file of an archive.
func member(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Linkname: content}
}

const infoYAML = `---
buildpack_path: /bp
detected_buildpack: Two Kinds
start_command: serve
effective_procfile: {web: serve, worker: work}
buildpacks:
- {key: first, version: "1.2"}
- {name: Second}
`

func digestOf(t *testing.T, path string) string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestInspect(t *testing.T) {
	d := newDesk(t)
	file := d.archive("x.tgz", member("./staging_info.yml", infoYAML), member("./app/a", "content"))
	out := d.succeeds("inspect", "x.tgz")
	digest := digestOf(t, file)
	assert.Regexp(t, `^droplet +x\.tgz  \d+ bytes, gzip\nsha256 +`+digest+"\nsha1 +[0-9a-f]{40}\n"+
		"buildpack +first 1\\.2\nbuildpack +Second\nweb +serve\nworker +work\n$", out)
	assert.JSONEq(t, `{"path": "x.tgz", "size": `+sizeOf(t, file)+`, "sha1": "`+told[map[string]any](t, d.succeeds("inspect", "x.tgz", "--json"))["sha1"].(string)+`",
		"sha256": "`+digest+`", "format": "gzip", "detected_buildpack": "Two Kinds",
		"buildpacks": [{"key": "first", "version": "1.2"}, {"name": "Second"}], "start_command": "serve",
		"process_types": {"web": "serve", "worker": "work"}, "sidecars": [], "legacy": false}`, d.succeeds("inspect", "x.tgz", "--json"))

	out = d.succeeds("verify", "x.tgz", "--sha256", strings.ToUpper(digest))
	assert.Contains(t, out, "content    "+sizeText(len(infoYAML)+len("content"))+" in 2 files, directories and links\n")
	code, _, errs := d.run("verify", "x.tgz", "--sha256", strings.Repeat("0", 64))
	assert.Equal(t, exitDroplet, code)
	assert.Contains(t, errs, "SHA256 mismatch: it is "+digest)
	code, _, _ = d.run("verify", "x.tgz", "--sha1", strings.Repeat("0", 40))
	assert.Equal(t, exitDroplet, code)
	code, _, _ = d.run("verify", "x.tgz", "--sha256", "abc")
	assert.Equal(t, exitUsage, code)
}

func sizeOf(t *testing.T, path string) string {
	info, err := os.Stat(path)
	require.NoError(t, err)
	return strings.TrimSuffix(sizeText(int(info.Size())), " bytes")
}

func sizeText(n int) string { return size(int64(n)) }

// TestRefusedDroplets gives every command what is no droplet, or one that harms.
func TestRefusedDroplets(t *testing.T) {
	d := newDesk(t)
	d.file("text", "no archive")
	d.file("empty", "")
	whole, err := os.ReadFile(d.archive("whole.tgz", member("./staging_info.yml", infoYAML), member("./app/a", strings.Repeat("x\x00y", 10000))))
	require.NoError(t, err)
	d.file("cut.tgz", string(whole[:len(whole)-20]))
	d.file("more.tgz", string(whole)+"more")
	d.archive("path.tgz", member("../../x", ""))
	d.archive("link.tgz", tar.Header{Typeflag: tar.TypeSymlink, Name: "./app", Linkname: "../.."}, member("./app/x", ""))
	d.archive("device.tgz", tar.Header{Typeflag: tar.TypeChar, Name: "./null"})
	d.archive("setuid.tgz", member("./staging_info.yml", infoYAML), tar.Header{Typeflag: tar.TypeReg, Name: "./su", Mode: 0o4755})
	d.archive("failed.tgz", member("./staging_info.yml", "staging_error: {type: NoAppDetectedError, message: none}\n"))
	d.archive("odd.tgz", member("./staging_info.yml", "- list"))
	d.archive("twice.tgz", member("./staging_info.yml", infoYAML), member("./staging_info.yml", infoYAML))
	d.archive("source.tgz", member("./app.py", ""), member("./app/startup", ""))
	all := []string{"text", "empty", "cut.tgz", "more.tgz", "path.tgz", "link.tgz", "device.tgz", "setuid.tgz", "failed.tgz", "odd.tgz", "twice.tgz", "source.tgz"}
	for _, name := range all {
		code, out, errs := d.run("verify", name)
		assert.Equal(t, exitDroplet, code, "%s %s", name, errs)
		assert.Empty(t, out)
		assert.Contains(t, errs, "droplet: "+name+": ")
	}
	for _, name := range []string{"text", "empty", "odd.tgz", "failed.tgz", "source.tgz"} {
		for _, command := range []string{"inspect", "run"} {
			code, _, errs := d.run(command, name)
			assert.Equal(t, exitDroplet, code, "%s %s %s", command, name, errs)
		}
	}
	for _, name := range []string{"cut.tgz", "setuid.tgz"} { // which shows only when they are unpacked
		code, _, errs := d.run("run", name, "--backend", "process")
		assert.Equal(t, exitDroplet, code, "%s %s", name, errs)
		assert.Regexp(t, `(?m)^droplet: `+name+`: `, errs)
	}
	for _, name := range []string{"text", "cut.tgz", "path.tgz", "twice.tgz"} {
		code, _, errs := d.run("repack", name, "-o", "new.tgz")
		assert.Equal(t, exitDroplet, code, "%s %s", name, errs)
		assert.NoFileExists(t, d.path("new.tgz"))
	}
	for _, command := range []string{"inspect", "verify", "run", "repack -o x.tgz", "export --oci x"} {
		for _, name := range []string{"gone", "."} {
			code, _, errs := d.run(append(strings.Fields(command), name)...)
			assert.Equal(t, exitUsage, code, "%s %s %s", command, name, errs)
		}
	}
}

func TestRepack(t *testing.T) {
	d := newDesk(t)
	file := d.archive("x.tgz", member("./app/a", "content"), member("./staging_info.yml", infoYAML))
	told := told[map[string]map[string]any](t, d.succeeds("repack", "x.tgz", "-o", "x.tar.zst", "--zstd", "--level", "19", "--json"))
	assert.Equal(t, digestOf(t, d.path("x.tar.zst")), told["droplet"]["sha256"])
	assert.Contains(t, d.succeeds("verify", "x.tar.zst"), ", zstd\n")
	d.succeeds("repack", "x.tar.zst", "-o", "y.tgz", "--time", "2020-01-01T00:00:00Z")
	d.succeeds("repack", "x.tgz", "-o", "x.tgz", "--time", "1577836800")
	assert.Equal(t, digestOf(t, d.path("y.tgz")), digestOf(t, file), "the same content has the same bytes")
	for _, flags := range [][]string{{}, {"--level", "10", "-o", "z"}, {"--time", "noon", "-o", "z"}} {
		code, _, _ := d.run(append([]string{"repack", "x.tgz"}, flags...)...)
		assert.Equal(t, exitUsage, code, "%q", flags)
	}
}
