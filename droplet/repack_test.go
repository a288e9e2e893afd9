package droplet_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/needs"
)

// noise does not compress.
func noise(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

func repack(t testing.TB, data []byte, opts droplet.PackOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	digest, err := droplet.Repack(t.Context(), &out, bytes.NewReader(data), opts)
	require.NoError(t, err)
	hashed, err := droplet.Hash(bytes.NewReader(out.Bytes()))
	require.NoError(t, err)
	assert.Equal(t, hashed, digest)
	return out.Bytes()
}

func TestRepackThereAndBack(t *testing.T) {
	root := staged(t)
	require.NoError(t, root.WriteFile("app/data", noise(5<<20), 0o600))
	require.NoError(t, root.Link("app/data", "app/same"))
	original := pack(t, root, droplet.PackOptions{})
	faster := repack(t, original, droplet.PackOptions{Format: droplet.Zstd})
	assert.True(t, bytes.Equal(faster, pack(t, root, droplet.PackOptions{Format: droplet.Zstd})))
	assert.True(t, bytes.Equal(original, repack(t, faster, droplet.PackOptions{})))
	fixed := repack(t, original, droplet.PackOptions{ModTime: then})
	assert.True(t, bytes.Equal(fixed, pack(t, root, droplet.PackOptions{ModTime: then})))
}

func TestRepackMakesOthersReproducible(t *testing.T) {
	archive := func(owner int, at time.Time, format tar.Format) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		w := tar.NewWriter(z)
		for _, hdr := range []*tar.Header{
			{Name: "./", Typeflag: tar.TypeDir, Mode: 0o2755},
			{Name: "app", Typeflag: tar.TypeDir, Mode: 0o755},
			{Name: "app/run", Mode: 0o755},
			{Name: "app/also", Typeflag: tar.TypeLink, Linkname: "app/run"},
			{Name: "staging_info.yml", Mode: 0o644, Size: 17},
		} {
			hdr.Uid, hdr.Gid, hdr.Uname, hdr.ModTime, hdr.Format = owner, owner, "someone", at, format
			require.NoError(t, w.WriteHeader(hdr))
			_, err := io.CopyN(w, strings.NewReader("start_command: x\n"), hdr.Size)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		require.NoError(t, z.Close())
		return out.Bytes()
	}
	opts := droplet.PackOptions{ModTime: then}
	first := repack(t, archive(1000, then, tar.FormatPAX), opts)
	second := repack(t, archive(2000, then.Add(time.Hour), tar.FormatGNU), opts)
	assert.True(t, bytes.Equal(first, second))

	plain, err := droplet.NewReader(bytes.NewReader(first), droplet.Limits{})
	require.NoError(t, err)
	defer plain.Close()
	var names []string
	for tr := tar.NewReader(plain); ; {
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		assert.Zero(t, hdr.Uid+hdr.Gid)
		assert.Zero(t, hdr.Mode&0o7000)
		assert.Equal(t, then, hdr.ModTime.UTC())
		names = append(names, hdr.Name+" "+hdr.Linkname)
	}
	assert.Equal(t, []string{"./ ", "./staging_info.yml ", "./app/ ", "./app/run ", "./app/also ./app/run"}, names)
}

func TestRepackRefuses(t *testing.T) {
	info := &tar.Header{Name: "staging_info.yml"}
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"way out":     {gzipped(t, info, &tar.Header{Name: "../x"}), droplet.ErrPath},
		"device":      {gzipped(t, info, &tar.Header{Name: "x", Typeflag: tar.TypeChar}), droplet.ErrType},
		"two infos":   {gzipped(t, info, &tar.Header{Name: "./staging_info.yml"}), droplet.ErrAmbiguous},
		"no droplet":  {[]byte("<html>"), droplet.ErrFormat},
		"cut short":   {gzipped(t, info, &tar.Header{Name: "x", Size: 1000})[:60], droplet.ErrDamaged},
		"large info":  {gzipped(t, &tar.Header{Name: "staging_info.yml", Size: droplet.MaxInfoBytes + 1}), nil},
		"bad level":   {gzipped(t, info), nil},
		"broken info": {gzipped(t, &tar.Header{Name: "staging_info.yml", Size: 3}), nil}, // three NULs
	} {
		t.Run(name, func(t *testing.T) {
			opts := droplet.PackOptions{}
			if name == "bad level" {
				opts.Level = 10
			}
			_, err := droplet.Repack(t.Context(), io.Discard, bytes.NewReader(test.data), opts)
			require.Error(t, err)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
		})
	}
}

func TestExchangeWithZstdProgram(t *testing.T) {
	needs.Tool(t, "tar", "tar")
	needs.Tool(t, "zstd", "zstd")
	data := pack(t, staged(t), droplet.PackOptions{Format: droplet.Zstd, ModTime: then})
	dir := t.TempDir()
	cmd := exec.Command("tar", "-C", dir, "--zstd", "-xf", "-")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.True(t, bytes.Equal(data, pack(t, openRoot(t, dir), droplet.PackOptions{Format: droplet.Zstd, ModTime: then})))

	for _, filter := range []string{"zstd -T0", "zstd -19", "gzip -9"} {
		theirs, err := exec.Command("tar", "-C", dir, "-I", filter, "-cf", "-", ".").Output()
		require.NoError(t, err)
		assert.True(t, bytes.Equal(data, repackSorted(t, theirs)), filter)
	}
	// A window that would take as much memory.
	huge := exec.Command("zstd", "-q", "--ultra", "--long=27", "-c")
	huge.Stdin = io.LimitReader(zeros{}, 130<<20)
	theirs, err := huge.Output()
	require.NoError(t, err)
	_, err = droplet.Verify(t.Context(), bytes.NewReader(theirs), droplet.VerifyOptions{})
	require.ErrorIs(t, err, droplet.ErrLimit)
}

// repackSorted unpacks a droplet and packs it again.
func repackSorted(t testing.TB, data []byte) []byte {
	to := openRoot(t, t.TempDir())
	require.NoError(t, droplet.Unpack(t.Context(), bytes.NewReader(data), to, ".", droplet.UnpackOptions{AbsoluteLinks: true}))
	return pack(t, to, droplet.PackOptions{Format: droplet.Zstd, ModTime: then})
}
