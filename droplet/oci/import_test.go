package oci_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/oci"
)

// A forgery writes a layout by hand.
type forgery struct {
	t    testing.TB
	root *os.Root
}

func forge(t testing.TB) forgery {
	f := forgery{t, openRoot(t, t.TempDir())}
	require.NoError(t, f.root.MkdirAll("blobs/sha256", 0o755))
	f.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return f
}

func (f forgery) file(name string, data []byte) {
	f.t.Helper()
	require.NoError(f.t, f.root.WriteFile(name, data, 0o644))
}

func digestOf(data []byte) digest.Digest {
	return digest.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256(data)))
}

func (f forgery) blob(mediaType string, data []byte) v1.Descriptor {
	f.t.Helper()
	d := v1.Descriptor{MediaType: mediaType, Digest: digestOf(data), Size: int64(len(data))}
	f.file("blobs/sha256/"+d.Digest.Encoded(), data)
	return d
}

func (f forgery) json(mediaType string, v any) v1.Descriptor {
	f.t.Helper()
	data, err := json.Marshal(v)
	require.NoError(f.t, err)
	return f.blob(mediaType, data)
}

func (f forgery) index(manifests ...v1.Descriptor) {
	f.t.Helper()
	data, err := json.Marshal(v1.Index{Manifests: manifests})
	require.NoError(f.t, err)
	f.file("index.json", data)
}

// image writes an image of plain layers.
func (f forgery) image(layers ...[]byte) v1.Descriptor {
	f.t.Helper()
	config, manifest := v1.Image{}, v1.Manifest{}
	for n, data := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digestOf(data))
		if n%2 == 1 { // some are compressed
			data = gzipped(f.t, data)
		}
		manifest.Layers = append(manifest.Layers, f.blob(v1.MediaTypeImageLayer, data))
	}
	manifest.Config = f.json(v1.MediaTypeImageConfig, config)
	return f.json(v1.MediaTypeImageManifest, manifest)
}

func gzipped(t testing.TB, data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(data)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}

// members lists a droplet.
func members(t testing.TB, d []byte) (names []string) {
	t.Helper()
	plain, err := droplet.NewReader(bytes.NewReader(d), droplet.Limits{})
	require.NoError(t, err)
	defer plain.Close()
	for tr := tar.NewReader(plain); ; {
		hdr, err := tr.Next()
		if err == io.EOF {
			return names
		}
		require.NoError(t, err)
		names = append(names, hdr.Name)
	}
}

// TestLayersOnTopOfEachOther as other tools make them.
func TestLayersOnTopOfEachOther(t *testing.T) {
	f := forge(t)
	f.index(f.image(
		tarOf(t, file("bin/su", 1), dir("home"), dir("home/vcap"), dir("home/vcap/app"), file("home/vcap/app/old", 10),
			file("home/vcap/app/kept", 10), dir("home/vcap/deps"), file("home/vcap/deps/a", 1), dir("home/vcap/app/turns"),
			file("home/vcap/app/turns/x", 1), &tar.Header{Name: "dev/null", Typeflag: tar.TypeChar},
			&tar.Header{Name: "sbin/sudo", Typeflag: tar.TypeReg, Mode: 0o4755}),
		tarOf(t, dir("home/vcap/deps"), file("home/vcap/deps/b", 1), file("home/vcap/deps/.wh..wh..opq", 0),
			file("home/vcap/app/.wh.old", 0), file("home/vcap/app/.wh.", 0), file("home/vcap/app/.wh...", 0),
			file("home/vcap/app/turns", 3), file("home/vcap/app/new", 1), link(tar.TypeLink, "home/vcap/app/same", "home/vcap/app/new")),
	))
	image := open(t, f.root)
	temp := t.TempDir()
	var out bytes.Buffer
	_, err := image.Droplet(t.Context(), &out, oci.ImportOptions{Pack: droplet.PackOptions{ModTime: then}, TempDir: temp})
	require.NoError(t, err)
	assert.Equal(t, []string{"./", "./app/", "./app/kept", "./app/new", "./app/same", "./app/turns", "./deps/", "./deps/b"}, members(t, out.Bytes()))
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, left)

	for _, wipe := range []string{".wh.home", "home/.wh.vcap", ".wh..wh..opq", "home/.wh..wh..opq", "home/vcap/.wh..wh..opq"} {
		f := forge(t)
		f.index(f.image(tarOf(t, file("home/vcap/app/old", 10)), tarOf(t, file(wipe, 0), file("home/vcap/app/new", 1))))
		assert.Equal(t, []string{"./", "./app/", "./app/new"}, members(t, back(t, open(t, f.root))), wipe)
	}
}

func TestImportRefuses(t *testing.T) {
	app := file("home/vcap/app/x", 1)
	for name, test := range map[string]struct {
		layer []byte
		want  error
	}{
		"no droplet":        {tarOf(t, file("home/vcap/x", 1)), oci.ErrNoDroplet},
		"app is a file":     {tarOf(t, file("home/vcap/app", 1)), oci.ErrNoDroplet},
		"way out":           {tarOf(t, app, file("home/vcap/../../etc/x", 1)), droplet.ErrPath},
		"home is a link":    {tarOf(t, app, link(tar.TypeSymlink, "home", "/etc")), droplet.ErrLink},
		"vcap is a link":    {tarOf(t, app, link(tar.TypeSymlink, "home/vcap", "/etc")), droplet.ErrLink},
		"link to passwd":    {tarOf(t, app, file("etc/passwd", 1), link(tar.TypeLink, "home/vcap/app/p", "etc/passwd")), droplet.ErrLink},
		"link to nothing":   {tarOf(t, app, link(tar.TypeLink, "home/vcap/app/p", "home/vcap/none")), os.ErrNotExist},
		"through a link":    {tarOf(t, app, link(tar.TypeSymlink, "home/vcap/l", "/etc"), file("home/vcap/l/x", 1)), droplet.ErrLink},
		"setuid":            {tarOf(t, app, &tar.Header{Name: "home/vcap/app/su", Mode: 0o4755}), droplet.ErrSetID},
		"device":            {tarOf(t, app, &tar.Header{Name: "home/vcap/app/null", Typeflag: tar.TypeChar}), droplet.ErrType},
		"FIFO":              {tarOf(t, app, &tar.Header{Name: "home/vcap/app/fifo", Typeflag: tar.TypeFifo}), droplet.ErrType},
		"large":             {tarOf(t, app, file("home/vcap/app/large", 1<<20)), droplet.ErrLimit},
		"large elsewhere":   {tarOf(t, app, file("usr/large", 1<<20)), droplet.ErrLimit},
		"many":              {tarOf(t, app, app, app, app, app, app, app, app, app, app, app), droplet.ErrLimit},
		"no tar":            {bytes.Repeat([]byte("x"), 2000), oci.ErrImage},
		"cut short":         {tarOf(t, app, file("usr/x", 5000))[:2000], oci.ErrImage},
		"damaged gzip":      {gzipped(t, tarOf(t, app))[:50], droplet.ErrDamaged},
		"bomb":              {gzipped(t, tarOf(t, app, file("usr/large", 50<<20))), droplet.ErrLimit},
		"bomb behind a tar": {gzipped(t, append(tarOf(t, app), make([]byte, 50<<20)...)), droplet.ErrLimit},
	} {
		t.Run(name, func(t *testing.T) {
			all := [][][]byte{{test.layer}, {test.layer, tarOf(t, dir("home"))}, {tarOf(t, dir("home")), test.layer}}
			if bytes.HasPrefix(test.layer, []byte{0x1f, 0x8b}) { // in the last place it would be compressed twice
				all = all[:2]
			}
			for _, layers := range all {
				f := forge(t)
				f.index(f.image(layers...))
				temp := t.TempDir()
				opts := oci.ImportOptions{TempDir: temp}
				opts.Pack.Limits = droplet.Limits{MaxBytes: 512 << 10, MaxMembers: 10}
				image := open(t, f.root)
				_, err := image.Droplet(t.Context(), io.Discard, opts)
				require.ErrorIs(t, err, test.want)
				left, err := os.ReadDir(temp)
				require.NoError(t, err)
				assert.Empty(t, left)
			}
		})
	}
}

// TestImportChecksDigests of layers that were changed when they were known already.
func TestImportChecksDigests(t *testing.T) {
	for _, below := range [][]byte{nil, tarOf(t, dir("home"))} {
		f := forge(t)
		layer := tarOf(t, file("home/vcap/app/x", 1))
		layers := [][]byte{layer}
		if below != nil {
			layers = [][]byte{layer, below}
		}
		f.index(f.image(layers...))
		image := open(t, f.root)
		changed := bytes.Clone(layer)
		changed[512] = 'x' // the content of the file
		f.file("blobs/sha256/"+digestOf(layer).Encoded(), changed)
		_, err := image.Droplet(t.Context(), io.Discard, oci.ImportOptions{})
		require.ErrorIs(t, err, oci.ErrDigest)

		opts := oci.Options{Base: image}
		_, err = oci.Export(t.Context(), oci.Tar(io.Discard), bytes.NewReader(sample(t)), opts)
		require.ErrorIs(t, err, oci.ErrDigest)
		_, err = oci.Export(t.Context(), oci.DockerArchive(io.Discard), bytes.NewReader(sample(t)), opts)
		require.ErrorIs(t, err, oci.ErrDigest)
	}

	f := forge(t) // a layer that unpacks to something else than the config says
	good, other := tarOf(t, file("home/vcap/app/x", 1)), tarOf(t, file("home/vcap/app/y", 1))
	manifest := v1.Manifest{Layers: []v1.Descriptor{f.blob(v1.MediaTypeImageLayerGzip, gzipped(t, other))}}
	manifest.Config = f.json(v1.MediaTypeImageConfig, v1.Image{RootFS: v1.RootFS{DiffIDs: []digest.Digest{digestOf(good)}}})
	f.index(f.json(v1.MediaTypeImageManifest, manifest))
	_, err := open(t, f.root).Droplet(t.Context(), io.Discard, oci.ImportOptions{})
	require.ErrorIs(t, err, oci.ErrDigest)
}

func TestOpenRefuses(t *testing.T) {
	layer := tarOf(t, file("home/vcap/app/x", 1))
	platform := func(d v1.Descriptor, arch string) v1.Descriptor {
		d.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		return d
	}
	for name, test := range map[string]struct {
		forge func(f forgery)
		want  error
	}{
		"no index":       {func(forgery) {}, oci.ErrImage},
		"no layout":      {func(f forgery) { require.NoError(t, f.root.Remove("oci-layout")) }, oci.ErrImage},
		"later layout":   {func(f forgery) { f.file("oci-layout", []byte(`{"imageLayoutVersion":"2.0.0"}`)) }, oci.ErrImage},
		"broken JSON":    {func(f forgery) { f.file("index.json", []byte(`{"manifests":[`)) }, oci.ErrImage},
		"large index":    {func(f forgery) { f.file("index.json", bytes.Repeat([]byte(" "), 5<<20)) }, droplet.ErrLimit},
		"none":           {func(f forgery) { f.index() }, oci.ErrAmbiguous},
		"two":            {func(f forgery) { i := f.image(layer); f.index(i, i) }, oci.ErrAmbiguous},
		"other machines": {func(f forgery) { i := f.image(layer); f.index(platform(i, "s390x"), platform(i, "mips")) }, oci.ErrAmbiguous},
		"no manifest":    {func(f forgery) { f.index(f.blob("text/plain", []byte("x"))) }, oci.ErrImage},
		"other digest": {func(f forgery) {
			i := f.image(layer)
			i.Digest = digest.Digest("sha512:" + strings.Repeat("0", 128))
			f.index(i)
		}, oci.ErrImage},
		"digest that leads out": {func(f forgery) {
			i := f.image(layer)
			i.Digest = "sha256:../../../../../etc/passwd"
			f.index(i)
		}, oci.ErrImage},
		"manifest changed": {func(f forgery) {
			i := f.image(layer)
			f.index(i)
			f.file("blobs/sha256/"+i.Digest.Encoded(), []byte("{}"))
		}, oci.ErrDigest},
		"layer missing": {func(f forgery) {
			f.index(f.image(layer))
			require.NoError(t, f.root.Remove("blobs/sha256/"+digestOf(layer).Encoded()))
		}, oci.ErrImage},
		"layer shorter": {func(f forgery) {
			f.index(f.image(layer))
			f.file("blobs/sha256/"+digestOf(layer).Encoded(), layer[:100])
		}, oci.ErrDigest},
		"layer is a FIFO": {func(f forgery) {
			f.index(f.image(layer))
			name := "blobs/sha256/" + digestOf(layer).Encoded()
			require.NoError(t, f.root.Remove(name))
			require.NoError(t, syscall.Mkfifo(filepath.Join(f.root.Name(), name), 0o644))
		}, oci.ErrImage},
		"layer is a link": {func(f forgery) {
			f.index(f.image(layer))
			name := "blobs/sha256/" + digestOf(layer).Encoded()
			require.NoError(t, f.root.Remove(name))
			require.NoError(t, f.root.Symlink("/etc/passwd", name))
		}, nil},
		"fewer layers than told": {func(f forgery) {
			m := v1.Manifest{Config: f.json(v1.MediaTypeImageConfig, v1.Image{RootFS: v1.RootFS{DiffIDs: []digest.Digest{digestOf(layer)}}})}
			f.index(f.json(v1.MediaTypeImageManifest, m))
		}, oci.ErrImage},
		"many layers": {func(f forgery) {
			var layers [][]byte
			for range 501 {
				layers = append(layers, layer)
			}
			f.index(f.image(layers...))
		}, droplet.ErrLimit},
		"indexes of indexes": {func(f forgery) {
			d := f.image(layer)
			for range 5 {
				d = f.json(v1.MediaTypeImageIndex, v1.Index{Manifests: []v1.Descriptor{d}})
			}
			f.index(d)
		}, oci.ErrImage},
	} {
		t.Run(name, func(t *testing.T) {
			f := forge(t)
			test.forge(f)
			_, err := oci.OpenDir(f.root, oci.OpenOptions{Architecture: "amd64"})
			require.Error(t, err)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
		})
	}
}

func TestOpenChooses(t *testing.T) {
	f := forge(t)
	arm, amd := f.image(tarOf(t, file("home/vcap/app/arm", 1))), f.image(tarOf(t, file("home/vcap/app/amd", 1)))
	arm.Platform, amd.Platform = &v1.Platform{OS: "linux", Architecture: "arm64"}, &v1.Platform{OS: "linux", Architecture: "amd64"}
	both := f.json(v1.MediaTypeImageIndex, v1.Index{Manifests: []v1.Descriptor{arm, amd}})
	both.Annotations = map[string]string{v1.AnnotationRefName: "v1"}
	other := f.image(tarOf(t, file("home/vcap/app/other", 1)))
	other.Annotations = map[string]string{v1.AnnotationRefName: "v2"}
	f.index(both, other)
	for want, opts := range map[string]oci.OpenOptions{
		"./app/arm": {Ref: "v1", Architecture: "arm64"}, "./app/amd": {Ref: "v1", Architecture: "amd64"}, "./app/other": {Ref: "v2"},
	} {
		image, err := oci.OpenDir(f.root, opts)
		require.NoError(t, err)
		assert.Contains(t, members(t, back(t, image)), want)
	}
	_, err := oci.OpenDir(f.root, oci.OpenOptions{Ref: "v3"})
	require.ErrorIs(t, err, oci.ErrAmbiguous)
}

func TestOpenTarRefuses(t *testing.T) {
	var good bytes.Buffer
	_, err := oci.Export(t.Context(), oci.DockerArchive(&good), bytes.NewReader(sample(t)), oci.Options{})
	require.NoError(t, err)
	var many []*tar.Header
	for n := range 10_001 {
		many = append(many, file(fmt.Sprint(n), 0))
	}
	for name, test := range map[string]struct {
		data []byte
		opts oci.OpenOptions
		want error
	}{
		"empty":      {nil, oci.OpenOptions{}, oci.ErrImage},
		"no tar":     {bytes.Repeat([]byte("x"), 2000), oci.OpenOptions{}, oci.ErrImage},
		"compressed": {gzipped(t, good.Bytes()), oci.OpenOptions{}, oci.ErrImage},
		"cut short":  {good.Bytes()[:1000], oci.OpenOptions{}, oci.ErrImage},
		"other name": {good.Bytes(), oci.OpenOptions{Ref: "x"}, oci.ErrAmbiguous},
		"many files": {tarOf(t, many...), oci.OpenOptions{}, droplet.ErrLimit},
		"size lies":  {forgedSize(t), oci.OpenOptions{}, oci.ErrImage},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := oci.OpenTar(t.Context(), bytes.NewReader(test.data), int64(len(test.data)), test.opts)
			require.ErrorIs(t, err, test.want)
		})
	}
}

// forgedSize is a tar file whose one member is larger than the file.
func forgedSize(t testing.TB) []byte {
	var out bytes.Buffer
	require.NoError(t, tar.NewWriter(&out).WriteHeader(file("manifest.json", 1<<30)))
	return append(out.Bytes(), make([]byte, 1024)...)
}

func FuzzOpenTar(f *testing.F) {
	for _, to := range []func(io.Writer) oci.Target{oci.Tar, oci.DockerArchive} {
		var out bytes.Buffer
		_, err := oci.Export(f.Context(), to(&out), bytes.NewReader(sample(f)), oci.Options{})
		require.NoError(f, err)
		f.Add(out.Bytes())
	}
	temp := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		image, err := oci.OpenTar(t.Context(), bytes.NewReader(data), int64(len(data)), oci.OpenOptions{})
		if err != nil {
			return
		}
		opts := oci.ImportOptions{TempDir: temp}
		opts.Pack.Limits = droplet.Limits{MaxBytes: 1 << 20, MaxMembers: 100}
		_, _ = image.Droplet(t.Context(), io.Discard, opts)
	})
}

// FuzzLayer makes images whose layer holds members of lines "<type> <octal mode> <name> <target>".
func FuzzLayer(f *testing.F) {
	f.Add("5 755 home/vcap/app -\n2 777 home/vcap/app/l /etc\n0 644 home/vcap/app/l/x -", "0 644 home/vcap/.wh.app -")
	f.Add("0 644 home/vcap/app/x -\n1 644 home/vcap/app/y home/vcap/app/x", "0 644 home/vcap/app/.wh... -\n5 0 home/vcap/app -")
	outside := f.TempDir()
	f.Fuzz(func(t *testing.T, lower, upper string) {
		data := dockerArchive(t, scripted(lower), scripted(upper))
		image, err := oci.OpenTar(t.Context(), bytes.NewReader(data), int64(len(data)), oci.OpenOptions{})
		require.NoError(t, err)
		opts := oci.ImportOptions{TempDir: outside}
		opts.Pack.Limits = droplet.Limits{MaxBytes: 1 << 20, MaxMembers: 100}
		var out bytes.Buffer
		if _, err := image.Droplet(t.Context(), &out, opts); err == nil {
			_, err := droplet.Verify(t.Context(), &out, droplet.VerifyOptions{AbsoluteLinks: true})
			if !errors.Is(err, droplet.ErrNotDroplet) { // which may be no matter of the image
				require.NoError(t, err, "what was made is refused")
			}
		}
		left, err := os.ReadDir(outside)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// dockerArchive makes a docker-archive of plain layers.
func dockerArchive(t testing.TB, layers ...[]byte) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	put := func(name string, data []byte) {
		require.NoError(t, w.WriteHeader(file(name, int64(len(data)))))
		_, err := w.Write(data)
		require.NoError(t, err)
	}
	var config v1.Image
	var names []string
	for n, data := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digestOf(data))
		names = append(names, fmt.Sprint(n))
		put(fmt.Sprint(n), data)
	}
	text, err := json.Marshal(config)
	require.NoError(t, err)
	name := digestOf(text).Encoded() + ".json"
	put(name, text)
	manifest, err := json.Marshal([]map[string]any{{"Config": name, "Layers": names}})
	require.NoError(t, err)
	put("manifest.json", manifest)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func scripted(script string) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for line := range strings.Lines(script) {
		var hdr tar.Header
		if n, _ := fmt.Sscanf(line, "%c %o %s %s", &hdr.Typeflag, &hdr.Mode, &hdr.Name, &hdr.Linkname); n == 4 {
			_ = w.WriteHeader(&hdr)
		}
	}
	_ = w.Close()
	return out.Bytes()
}
