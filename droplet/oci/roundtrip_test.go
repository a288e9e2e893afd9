package oci_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/oci"
)

// TestThereAndBack: whatever way a droplet goes, the same bytes come back.
func TestThereAndBack(t *testing.T) {
	d := sample(t)
	hash, err := droplet.Hash(bytes.NewReader(d))
	require.NoError(t, err)
	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		root, exported := exportDir(t, d, oci.Options{Format: format})
		image := open(t, root)
		assert.Equal(t, exported.Digest, image.Digest())
		assert.Equal(t, hash.SHA1, image.Config().Config.Labels[oci.LabelSHA1])
		assert.True(t, bytes.Equal(d, back(t, image)), format.String())
		again, _ := exportDir(t, d, oci.Options{Format: format})
		assert.Equal(t, tree(t, root.Name()), tree(t, again.Name()), "the image is not reproducible")

		// On top of a base that is an image of a droplet itself.
		var archive, second bytes.Buffer
		for _, out := range []*bytes.Buffer{&archive, &second} {
			_, err := oci.Export(t.Context(), oci.Tar(out), bytes.NewReader(d), oci.Options{Base: image, Format: format})
			require.NoError(t, err)
		}
		assert.True(t, bytes.Equal(archive.Bytes(), second.Bytes()))
		upper, err := oci.OpenTar(t.Context(), bytes.NewReader(archive.Bytes()), int64(archive.Len()), oci.OpenOptions{Ref: "latest"})
		require.NoError(t, err)
		assert.Len(t, upper.Config().RootFS.DiffIDs, 2)
		assert.True(t, bytes.Equal(d, back(t, upper)))

		var docker bytes.Buffer
		exported, err = oci.Export(t.Context(), oci.DockerArchive(&docker), bytes.NewReader(d), oci.Options{Base: upper, Ref: "app:v1"})
		require.NoError(t, err)
		assert.Empty(t, exported.Digest)
		loaded, err := oci.OpenTar(t.Context(), bytes.NewReader(docker.Bytes()), int64(docker.Len()), oci.OpenOptions{Ref: "app:v1"})
		require.NoError(t, err)
		assert.Equal(t, exported.ConfigDigest, loaded.Digest())
		assert.True(t, bytes.Equal(d, back(t, loaded)))

		// A docker-archive as the base of a layout.
		root, _ = exportDir(t, d, oci.Options{Base: loaded})
		last := open(t, root)
		assert.Len(t, last.Config().RootFS.DiffIDs, 4)
		assert.True(t, bytes.Equal(d, back(t, last)))
	}
}

func TestConfig(t *testing.T) {
	root, _ := exportDir(t, sample(t), oci.Options{
		Process: "worker", Env: []string{"PORT=1", "X=a=b"}, Labels: map[string]string{"team": "a"}, Created: then,
	})
	image := open(t, root).Config()
	assert.Equal(t, "linux", image.OS)
	assert.Equal(t, runtime.GOARCH, image.Architecture)
	assert.Equal(t, then, image.Created.UTC())
	assert.Len(t, image.History, 1)
	c := image.Config
	assert.Equal(t, "2000:2000", c.User)
	assert.Equal(t, "/home/vcap/app", c.WorkingDir)
	assert.Equal(t, []string{"bin/work"}, c.Cmd)
	assert.Equal(t, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/vcap/app",
		"TMPDIR=/home/vcap/tmp", "USER=vcap", "PORT=1", "VCAP_APP_HOST=0.0.0.0", "VCAP_APPLICATION={}", "VCAP_SERVICES={}",
		"CF_INSTANCE_INDEX=0", "X=a=b"}, c.Env)
	assert.Equal(t, "0", c.Labels[oci.LabelBaseLayers])
	assert.Equal(t, "Ruby/Rack", c.Labels[oci.LabelBuildpack])
	assert.JSONEq(t, `{"web":"bin/web","worker":"bin/work"}`, c.Labels[oci.LabelProcessTypes])
	var packs []map[string]string
	require.NoError(t, json.Unmarshal([]byte(c.Labels[oci.LabelBuildpacks]), &packs))
	assert.Equal(t, []map[string]string{{"key": "b1", "name": "ruby", "version": "1.2"}}, packs)
	assert.Equal(t, "a", c.Labels["team"])
	assert.Equal(t, map[string]struct{}{"8080/tcp": {}}, c.ExposedPorts)
}

func TestStartCommand(t *testing.T) {
	old := stage(t, map[string]string{"startup": "#!/bin/sh\n"})
	for name, test := range map[string]struct {
		droplet []byte
		opts    oci.Options
		want    []string
		err     error
	}{
		"web":                {sample(t), oci.Options{}, []string{"bin/web --port $PORT"}, nil},
		"worker":             {sample(t), oci.Options{Process: "worker"}, []string{"bin/work"}, nil},
		"command":            {sample(t), oci.Options{Process: "x", Command: "ls"}, []string{"ls"}, nil},
		"unknown":            {sample(t), oci.Options{Process: "x"}, nil, oci.ErrNoProcess},
		"old kind":           {old, oci.Options{}, nil, nil},
		"old kind, a worker": {old, oci.Options{Process: "worker"}, nil, oci.ErrNoProcess},
		"none":               {stage(t, map[string]string{"staging_info.yml": "detected_buildpack: x\n"}), oci.Options{}, nil, oci.ErrNoProcess},
	} {
		t.Run(name, func(t *testing.T) {
			root := openRoot(t, t.TempDir())
			_, err := oci.Export(t.Context(), oci.Dir(root), bytes.NewReader(test.droplet), test.opts)
			require.ErrorIs(t, err, test.err)
			if err == nil {
				assert.Equal(t, test.want, open(t, root).Config().Config.Cmd)
			}
		})
	}
}

func TestLayer(t *testing.T) {
	var docker bytes.Buffer
	_, err := oci.Export(t.Context(), oci.DockerArchive(&docker), bytes.NewReader(sample(t)), oci.Options{UID: 7, GID: 8})
	require.NoError(t, err)
	var names []string
	for outer := tar.NewReader(&docker); ; {
		hdr, err := outer.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if hdr.Name[max(0, len(hdr.Name)-4):] != ".tar" {
			continue
		}
		for inner := tar.NewReader(outer); ; {
			hdr, err := inner.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			names = append(names, hdr.Name)
			inside := len(hdr.Name) > 9 && hdr.Name[:9] == "home/vcap"
			assert.Equal(t, inside, hdr.Uid == 7 && hdr.Gid == 8, hdr.Name)
			if hdr.Name == "etc/passwd" {
				data, err := io.ReadAll(inner)
				require.NoError(t, err)
				assert.Contains(t, string(data), "\nvcap:x:7:8::/home/vcap:/bin/bash\n")
			}
		}
	}
	assert.Equal(t, []string{"app", "home/", "tmp/", "etc/", "etc/group", "etc/passwd", "home/vcap/", "home/vcap/staging_info.yml",
		"home/vcap/app/", "home/vcap/app/ruby", "home/vcap/app/.profile.d/", "home/vcap/app/.profile.d/a.sh", "home/vcap/app/bin/",
		"home/vcap/app/bin/web", "home/vcap/logs/", "home/vcap/logs/staging_task.log", "home/vcap/tmp/"}, names)
}

func TestExportRefuses(t *testing.T) {
	good := sample(t)
	for name, test := range map[string]struct {
		droplet []byte
		opts    oci.Options
		want    error
	}{
		"no droplet":     {[]byte("<html>"), oci.Options{}, droplet.ErrFormat},
		"damaged":        {good[:len(good)-4], oci.Options{}, droplet.ErrDamaged},
		"too large":      {good, oci.Options{Limits: droplet.Limits{MaxBytes: 1000}}, droplet.ErrLimit},
		"too many":       {good, oci.Options{Limits: droplet.Limits{MaxMembers: 3}}, droplet.ErrLimit},
		"removal":        {stage(t, map[string]string{"staging_info.yml": "start_command: x\n", "app/.wh.x": ""}), oci.Options{}, oci.ErrWhiteout},
		"no such TMPDIR": {good, oci.Options{TempDir: "/nonexistent"}, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			if test.opts.TempDir == "" {
				test.opts.TempDir = temp
			}
			_, err := oci.Export(t.Context(), oci.Tar(io.Discard), bytes.NewReader(test.droplet), test.opts)
			require.ErrorIs(t, err, test.want)
			left, err := os.ReadDir(temp)
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
	root, _ := exportDir(t, good, oci.Options{})
	_, err := oci.Export(t.Context(), oci.Dir(root), bytes.NewReader(good), oci.Options{})
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = oci.Export(t.Context(), oci.Tar(io.Discard), bytes.NewReader(good), oci.Options{Level: 77})
	require.ErrorContains(t, err, "no level 77")
	read := bytes.NewReader(good)
	_, err = io.Copy(io.Discard, read)
	require.NoError(t, err)
	_, err = oci.Export(t.Context(), oci.Tar(io.Discard), read, oci.Options{})
	require.ErrorIs(t, err, droplet.ErrFormat)
	assert.ErrorContains(t, err, "seek to the beginning")
	behind := io.NewSectionReader(bytes.NewReader(append([]byte("before"), good...)), 0, int64(len(good)+6))
	_, err = behind.Seek(6, io.SeekStart)
	require.NoError(t, err)
	_, err = oci.Export(t.Context(), oci.Tar(io.Discard), behind, oci.Options{})
	require.NoError(t, err, "what stands before the position is not looked at")
}
