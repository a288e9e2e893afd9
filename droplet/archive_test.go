package droplet_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var then = time.Date(2014, 2, 1, 10, 0, 0, 0, time.UTC)

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

// staged makes the directory that staging leaves behind.
func staged(t testing.TB) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"app/config.ru": "run App", "app/.profile.d/env.sh": "export A=1", "logs/staging_task.log": "-----> Downloaded",
		"staging_info.yml": "---\ndetected_buildpack: Ruby/Rack\nstart_command: rackup\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	require.NoError(t, os.Mkdir(dir+"/tmp", 0o755))
	require.NoError(t, os.Chmod(dir+"/app/config.ru", 0o755))
	require.NoError(t, os.Symlink("/usr/bin/ruby", dir+"/app/ruby"))
	return openRoot(t, dir)
}

func packed(t testing.TB, root *os.Root) ([]byte, droplet.Digest) {
	t.Helper()
	var out bytes.Buffer
	digest, err := droplet.Pack(context.Background(), &out, root, ".", droplet.PackOptions{ModTime: then})
	require.NoError(t, err)
	return out.Bytes(), digest
}

func gzipped(t testing.TB, hdrs ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, hdr := range hdrs {
		require.NoError(t, w.WriteHeader(hdr))
		_, err := io.CopyN(w, zeros{}, hdr.Size)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return out.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestPackAndUnpack(t *testing.T) {
	root := staged(t)
	data, digest := packed(t, root)
	assert.Equal(t, droplet.Digest{
		SHA1:   fmt.Sprintf("%x", sha1.Sum(data)),
		SHA256: fmt.Sprintf("%x", sha256.Sum256(data)),
		Size:   int64(len(data)),
	}, digest)
	hashed, err := droplet.Hash(bytes.NewReader(data))
	require.NoError(t, err)
	assert.Equal(t, digest, hashed)

	to := openRoot(t, t.TempDir())
	opts := droplet.UnpackOptions{AbsoluteLinks: true}
	require.NoError(t, droplet.Unpack(t.Context(), bytes.NewReader(data), to, "home/vcap", opts))
	var again bytes.Buffer
	repacked, err := droplet.Pack(t.Context(), &again, to, "/home/vcap", droplet.PackOptions{ModTime: then})
	require.NoError(t, err)
	assert.Equal(t, digest, repacked, "the unpacked droplet packs to other bytes")

	plain, err := droplet.NewReader(bytes.NewReader(data), droplet.Limits{})
	require.NoError(t, err)
	var compressed bytes.Buffer
	same, err := droplet.Compress(t.Context(), &compressed, plain, droplet.PackOptions{})
	require.NoError(t, err)
	require.NoError(t, plain.Close())
	assert.Equal(t, digest, same, "the tar stream compresses to other bytes")
}

func TestDropletHasTheMembersOfTheOriginal(t *testing.T) {
	data, _ := packed(t, staged(t))
	plain, err := droplet.NewReader(bytes.NewReader(data), droplet.Limits{})
	require.NoError(t, err)
	defer plain.Close()
	var names []string
	for tr := tar.NewReader(plain); ; {
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		names = append(names, hdr.Name)
	}
	assert.Equal(t, []string{"./", "./staging_info.yml", "./app/", "./app/config.ru", "./app/ruby", "./app/.profile.d/",
		"./app/.profile.d/env.sh", "./logs/", "./logs/staging_task.log", "./tmp/"}, names)
}

func TestUnpackRefuses(t *testing.T) {
	data, _ := packed(t, staged(t))
	big := gzipped(t, &tar.Header{Name: "./zeros", Size: 50 << 20, Mode: 0o644})
	require.Less(t, len(big), 1<<20)
	for name, test := range map[string]struct {
		data []byte
		opts droplet.UnpackOptions
		want error
	}{
		"absolute link":    {data, droplet.UnpackOptions{}, droplet.ErrLink},
		"parent path":      {gzipped(t, &tar.Header{Name: "../x"}), droplet.UnpackOptions{}, droplet.ErrPath},
		"setuid file":      {gzipped(t, &tar.Header{Name: "x", Mode: 0o4755}), droplet.UnpackOptions{}, droplet.ErrSetID},
		"device":           {gzipped(t, &tar.Header{Name: "x", Typeflag: tar.TypeBlock}), droplet.UnpackOptions{}, droplet.ErrType},
		"bomb":             {big, droplet.UnpackOptions{Limits: droplet.Limits{MaxBytes: 1 << 20}}, droplet.ErrLimit},
		"many members":     {data, droplet.UnpackOptions{AbsoluteLinks: true, Limits: droplet.Limits{MaxMembers: 3}}, droplet.ErrLimit},
		"cut short":        {data[:len(data)/2], droplet.UnpackOptions{}, io.ErrUnexpectedEOF},
		"trailer missing":  {data[:len(data)-8], droplet.UnpackOptions{AbsoluteLinks: true}, io.ErrUnexpectedEOF},
		"empty":            {nil, droplet.UnpackOptions{}, droplet.ErrFormat},
		"bad check sum":    {append(bytes.Clone(data[:len(data)-8]), make([]byte, 8)...), droplet.UnpackOptions{AbsoluteLinks: true}, droplet.ErrDamaged},
		"no gzip":          {[]byte(strings.Repeat("not gzip ", 100)), droplet.UnpackOptions{}, droplet.ErrFormat},
		"rubbish behind":   {append(bytes.Clone(data), "rubbish rubbish"...), droplet.UnpackOptions{AbsoluteLinks: true}, droplet.ErrDamaged},
		"write to a child": {gzipped(t, &tar.Header{Name: "f"}, &tar.Header{Name: "f/x"}), droplet.UnpackOptions{}, droplet.ErrPath},
	} {
		t.Run(name, func(t *testing.T) {
			err := droplet.Unpack(t.Context(), bytes.NewReader(test.data), openRoot(t, t.TempDir()), ".", test.opts)
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestReaderEndsAtTheLimit(t *testing.T) {
	big := gzipped(t, &tar.Header{Name: "./zeros", Size: 5 << 20, Mode: 0o644})
	r, err := droplet.NewReader(bytes.NewReader(big), droplet.Limits{MaxBytes: 2 << 20})
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, r)
	require.ErrorIs(t, err, droplet.ErrLimit)
	assert.LessOrEqual(t, n, int64(2<<20))
	require.NoError(t, r.Close())

	r, err = droplet.NewReader(bytes.NewReader(big), droplet.Limits{})
	require.NoError(t, err)
	_, err = r.Read(make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	for range 10 {
		_, err = io.Copy(io.Discard, r)
		require.Error(t, err, "a closed reader")
	}
}

func TestPackEndsWithItsContextAndWriter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := droplet.Pack(ctx, io.Discard, staged(t), ".", droplet.PackOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = droplet.Compress(ctx, io.Discard, zeros{}, droplet.PackOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = droplet.Pack(t.Context(), io.Discard, staged(t), ".", droplet.PackOptions{Level: 99})
	require.Error(t, err)
	r, w := io.Pipe()
	require.NoError(t, r.Close())
	_, err = droplet.Compress(t.Context(), w, zeros{}, droplet.PackOptions{})
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

// The DEA of the original unpacks droplets with the program tar, and packs them with it.
func TestExchangeWithTarProgram(t *testing.T) {
	needs.Tool(t, "tar", "tar")
	data, digest := packed(t, staged(t))
	dir := t.TempDir()
	cmd := exec.Command("tar", "-C", dir, "-xzf", "-")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	_, same := packed(t, openRoot(t, dir))
	assert.Equal(t, digest, same)

	theirs, err := exec.Command("tar", "-C", dir, "-czf", "-", ".").Output()
	require.NoError(t, err)
	to := openRoot(t, t.TempDir())
	require.NoError(t, droplet.Unpack(t.Context(), bytes.NewReader(theirs), to, ".", droplet.UnpackOptions{AbsoluteLinks: true}))
	_, same = packed(t, to)
	assert.Equal(t, digest, same)
}
