package oci_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/oci"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/internal/testapp"
)

// run runs a program and returns what it printed on its standard output.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s %s\n%s%s", name, args, out, stderr.String())
	return out
}

func skopeo(t *testing.T, args ...string) []byte {
	return run(t, needs.Tool(t, "skopeo", "skopeo"), append([]string{"--insecure-policy"}, args...)...)
}

func TestSkopeoReadsImages(t *testing.T) {
	d := sample(t)
	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		root, exported := exportDir(t, d, oci.Options{Ref: "v1", Format: format})
		at := "oci:" + root.Name() + ":v1"
		var seen struct {
			Digest string
			Labels map[string]string
			Layers []string
		}
		require.NoError(t, json.Unmarshal(skopeo(t, "inspect", at), &seen))
		assert.Equal(t, exported.Digest, seen.Digest)
		assert.Equal(t, "Ruby/Rack", seen.Labels[oci.LabelBuildpack])
		assert.Len(t, seen.Layers, 1)
		var config v1.Image
		require.NoError(t, json.Unmarshal(skopeo(t, "inspect", "--config", at), &config))
		assert.Equal(t, []string{"bin/web --port $PORT"}, config.Config.Cmd)

		// What others make of it is the same droplet. Docker's formats know no zstd.
		copied := t.TempDir()
		skopeo(t, "copy", at, "oci:"+copied+":v1")
		assert.True(t, bytes.Equal(d, back(t, open(t, openRoot(t, copied)))))
		if format == droplet.Zstd {
			continue
		}
		archive := filepath.Join(t.TempDir(), "docker.tar")
		skopeo(t, "copy", at, "docker-archive:"+archive+":droplet:v1")
		assert.True(t, bytes.Equal(d, back(t, openFile(t, archive, "docker.io/library/droplet:v1", "droplet:v1"))))
	}
}

func openFile(t *testing.T, name string, refs ...string) *oci.Image {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	require.NoError(t, err)
	for _, ref := range refs {
		var image *oci.Image
		if image, err = oci.OpenTar(t.Context(), f, info.Size(), oci.OpenOptions{Ref: ref}); err == nil {
			return image
		}
	}
	require.NoError(t, err)
	return nil
}

func TestSkopeoReadsArchives(t *testing.T) {
	d := sample(t)
	base, _ := exportDir(t, d, oci.Options{Format: droplet.Zstd})
	for kind, to := range map[string]func(f *os.File) oci.Target{
		"docker-archive": func(f *os.File) oci.Target { return oci.DockerArchive(f) },
		"oci-archive":    func(f *os.File) oci.Target { return oci.Tar(f) },
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "image.tar"))
		require.NoError(t, err)
		_, err = oci.Export(t.Context(), to(f), bytes.NewReader(d), oci.Options{Base: open(t, base)})
		require.NoError(t, err)
		require.NoError(t, f.Close())
		out := t.TempDir()
		skopeo(t, "copy", kind+":"+f.Name(), "oci:"+out+":again")
		image, err := oci.OpenDir(openRoot(t, out), oci.OpenOptions{Ref: "again"})
		require.NoError(t, err)
		assert.Len(t, image.Config().RootFS.DiffIDs, 2)
		assert.True(t, bytes.Equal(d, back(t, image)), kind)
	}
}

// stack makes a base image of bash and the few programs and libraries that the app needs.
func stack(t *testing.T, programs ...string) *oci.Image {
	t.Helper()
	root := t.TempDir()
	ldd := needs.Tool(t, "ldd", "libc-bin")
	copied := map[string]bool{}
	take := func(name string) {
		if copied[name] {
			return
		}
		copied[name] = true
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		to := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(t, os.WriteFile(to, data, 0o755))
	}
	for _, name := range programs {
		if strings.HasSuffix(name, "/bash") || strings.HasSuffix(name, "/mkdir") {
			take(name)
		}
		libraries, _ := exec.Command(ldd, name).Output() // fails for a program that needs none
		for word := range strings.FieldsSeq(string(libraries)) {
			if filepath.IsAbs(word) && !strings.HasSuffix(word, ":") {
				take(word)
			}
		}
	}
	var layer bytes.Buffer
	require.NoError(t, tarball.Write(t.Context(), &layer, openRoot(t, root), "/", tarball.Options{ModTime: then}))
	f := forge(t)
	f.index(f.image(layer.Bytes()))
	return open(t, f.root)
}

// TestUmociUnpacksWhatServes: the image starts its app as vcap, after the scripts of the buildpack, and serves.
func TestUmociUnpacksWhatServes(t *testing.T) {
	umoci := needs.Tool(t, "umoci", "umoci")
	needs.Root(t)
	self, err := os.Executable()
	require.NoError(t, err)
	binary, err := os.ReadFile(self)
	require.NoError(t, err)
	d := stage(t, map[string]string{
		"staging_info.yml":     "start_command: exec bin/web\n",
		"app/bin/web":          string(binary),
		"app/.profile.d/a.sh":  "export \"$CHOSEN\"\nread LINE\necho \"$HOME $VCAP_APP_PORT $DEPS_DIR $LINE\" >tmp/profile\n",
		"app/.profile.d/x.txt": "exit 9",
		"profile.d/0.sh":       "export FIRST=1",
	})
	root, _ := exportDir(t, d, oci.Options{Base: stack(t, "/bin/bash", "/bin/mkdir", self), Level: 1})
	bundle := filepath.Join(t.TempDir(), "bundle")
	run(t, umoci, "unpack", "--image", root.Name()+":latest", bundle)
	rootfs := filepath.Join(bundle, "rootfs")
	link, err := os.Readlink(filepath.Join(rootfs, "app"))
	require.NoError(t, err)
	assert.Equal(t, "home/vcap/app", link)

	var spec struct {
		Process struct {
			Args, Env []string
			Cwd       string
			User      struct{ UID, GID uint32 }
		}
	}
	text, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &spec))
	assert.Equal(t, "/home/vcap/app", spec.Process.Cwd)
	assert.EqualValues(t, 2000, spec.Process.User.UID)

	// Container engines bring the devices.
	require.NoError(t, os.Mkdir(filepath.Join(rootfs, "dev"), 0o755))
	require.NoError(t, syscall.Mknod(filepath.Join(rootfs, "dev/null"), syscall.S_IFCHR|0o666, 1<<8|3))
	require.NoError(t, os.Chmod(filepath.Join(rootfs, "dev/null"), 0o666))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	app := exec.Command(spec.Process.Args[0], spec.Process.Args[1:]...)
	app.Path = spec.Process.Args[0] // inside the root
	app.Env = append(spec.Process.Env, fmt.Sprintf("PORT=%d", port), "CHOSEN="+testapp.Env(testapp.Serves))
	app.Dir = spec.Process.Cwd
	app.SysProcAttr = &syscall.SysProcAttr{
		Chroot: rootfs, Credential: &syscall.Credential{Uid: spec.Process.User.UID, Gid: spec.Process.User.GID},
	}
	var output bytes.Buffer
	app.Stdout, app.Stderr = &output, &output
	require.NoError(t, app.Start())
	ended := make(chan error, 1)
	go func() { ended <- app.Wait() }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	serves := assert.Eventually(t, func() bool {
		answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	}, 20*time.Second, 20*time.Millisecond)
	if !serves {
		_ = app.Process.Kill()
	} else {
		require.NoError(t, app.Process.Signal(syscall.SIGTERM))
	}
	require.NoError(t, <-ended, output.String())
	profile, err := os.ReadFile(filepath.Join(rootfs, "home/vcap/tmp/profile"))
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("/home/vcap/app %d /home/vcap/deps \n", port), string(profile))
	info, err := os.Stat(filepath.Join(rootfs, "home/vcap/tmp/profile"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	assert.EqualValues(t, 2000, info.Sys().(*syscall.Stat_t).Uid)
}
