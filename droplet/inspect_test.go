package droplet_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
)

// counted tells how far a droplet was read.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// pack makes a droplet of a directory in a format.
func pack(t testing.TB, root *os.Root, opts droplet.PackOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	_, err := droplet.Pack(context.Background(), &out, root, ".", opts)
	require.NoError(t, err)
	return out.Bytes()
}

func TestInspectReadsTheBeginningAlone(t *testing.T) {
	root := staged(t)
	require.NoError(t, root.WriteFile("app/large", noise(8<<20), 0o644))
	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		data := pack(t, root, droplet.PackOptions{Format: format, Level: 1})
		r := &counted{Reader: bytes.NewReader(data)}
		summary, err := droplet.Inspect(t.Context(), r, droplet.Limits{})
		require.NoError(t, err)
		assert.Equal(t, droplet.Summary{
			Format: format, Info: &droplet.StagingInfo{DetectedBuildpack: "Ruby/Rack", StartCommand: "rackup"},
		}, summary)
		assert.Less(t, r.n, int64(len(data))*3/4, format.String())
	}
}

func TestInspectDropletOfTheOldKind(t *testing.T) {
	data := gzipped(t, &tar.Header{Name: "startup", Mode: 0o755})
	summary, err := droplet.Inspect(t.Context(), bytes.NewReader(data), droplet.Limits{})
	require.NoError(t, err)
	assert.Equal(t, droplet.Summary{Format: droplet.Gzip}, summary)
}

// TestWhatIsNoDroplet: what tells how to start stands at the root, or it is another kind of archive.
func TestWhatIsNoDroplet(t *testing.T) {
	for name, members := range map[string][]*tar.Header{
		"source":       {{Name: "app.py", Mode: 0o644}},
		"further down": {{Name: "app/startup", Mode: 0o755}, {Name: "app/staging_info.yml", Mode: 0o644}},
		"directories":  {{Name: "startup/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "staging_info.yml/", Typeflag: tar.TypeDir, Mode: 0o755}},
	} {
		data := gzipped(t, members...)
		_, err := droplet.Inspect(t.Context(), bytes.NewReader(data), droplet.Limits{})
		require.ErrorIs(t, err, droplet.ErrNotDroplet, name)
		_, err = droplet.Verify(t.Context(), bytes.NewReader(data), droplet.VerifyOptions{})
		require.ErrorIs(t, err, droplet.ErrNotDroplet, name)
		_, err = droplet.ReadInfo(t.Context(), bytes.NewReader(data), droplet.Limits{})
		require.ErrorIs(t, err, droplet.ErrNoInfo, name)
	}
	old := gzipped(t, &tar.Header{Name: "./startup", Mode: 0o755})
	summary, err := droplet.Verify(t.Context(), bytes.NewReader(old), droplet.VerifyOptions{})
	require.NoError(t, err)
	assert.Nil(t, summary.Info)
}

func TestVerify(t *testing.T) {
	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		data := pack(t, staged(t), droplet.PackOptions{Format: format})
		digest, err := droplet.Hash(bytes.NewReader(data))
		require.NoError(t, err)
		opts := droplet.VerifyOptions{AbsoluteLinks: true, SHA1: strings.ToUpper(digest.SHA1)}
		summary, err := droplet.Verify(t.Context(), bytes.NewReader(data), opts)
		require.NoError(t, err)
		assert.Equal(t, droplet.Summary{
			Format: format, Info: &droplet.StagingInfo{DetectedBuildpack: "Ruby/Rack", StartCommand: "rackup"},
			Digest: digest, Members: 10, Bytes: 90,
		}, summary)

		opts.SHA1 = fmt.Sprintf("%x", sha1.Sum(nil))
		_, err = droplet.Verify(t.Context(), bytes.NewReader(data), opts)
		require.ErrorIs(t, err, droplet.ErrDigestMismatch)
		_, err = droplet.Verify(t.Context(), bytes.NewReader(data), droplet.VerifyOptions{})
		require.ErrorIs(t, err, droplet.ErrLink)
	}
}

// TestVerifyAgreesWithUnpack: what the one refuses the other does, too, and with the same error.
func TestVerifyAgreesWithUnpack(t *testing.T) {
	info := &tar.Header{Name: "./staging_info.yml", Mode: 0o644}
	file := func(name string) *tar.Header { return &tar.Header{Name: name, Mode: 0o644, Size: 10} }
	link := func(kind byte, name, to string) *tar.Header {
		return &tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o777}
	}
	for name, test := range map[string]struct {
		members []*tar.Header
		want    error
	}{
		"good":                   {[]*tar.Header{{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, info, file("./app/a"), link(tar.TypeLink, "./b", "./app/a"), link(tar.TypeSymlink, "./c", "app")}, nil},
		"parent":                 {[]*tar.Header{info, file("../x")}, droplet.ErrPath},
		"hidden parent":          {[]*tar.Header{info, file("a/../../x")}, droplet.ErrPath},
		"absolute":               {[]*tar.Header{info, file("/etc/passwd")}, droplet.ErrPath},
		"below a file":           {[]*tar.Header{info, file("f"), file("f/x")}, droplet.ErrPath},
		"through a link":         {[]*tar.Header{info, link(tar.TypeSymlink, "l", "app"), file("l/x")}, droplet.ErrLink},
		"symbolic link out":      {[]*tar.Header{info, link(tar.TypeSymlink, "a/l", "../../x")}, droplet.ErrLink},
		"symbolic link absolute": {[]*tar.Header{info, link(tar.TypeSymlink, "l", "/etc")}, droplet.ErrLink},
		"hard link out":          {[]*tar.Header{info, link(tar.TypeLink, "l", "../x")}, droplet.ErrLink},
		"hard link to itself":    {[]*tar.Header{info, link(tar.TypeLink, "l", "l")}, droplet.ErrLink},
		"hard link to nothing":   {[]*tar.Header{info, link(tar.TypeLink, "l", "x")}, os.ErrNotExist},
		"hard link to a dir":     {[]*tar.Header{info, {Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}, link(tar.TypeLink, "l", "d")}, droplet.ErrLink},
		"device":                 {[]*tar.Header{info, {Name: "x", Typeflag: tar.TypeChar}}, droplet.ErrType},
		"FIFO":                   {[]*tar.Header{info, {Name: "x", Typeflag: tar.TypeFifo}}, droplet.ErrType},
		"setgid":                 {[]*tar.Header{info, {Name: "x", Mode: 0o2755}}, droplet.ErrSetID},
		"too large":              {[]*tar.Header{info, {Name: "x", Size: 1 << 20}}, droplet.ErrLimit},
		"too many":               {[]*tar.Header{info, info, info, info, info, info, info, info, info, info, info}, droplet.ErrLimit},
		"long name":              {[]*tar.Header{info, file(strings.Repeat("n", 300))}, droplet.ErrLimit},
	} {
		t.Run(name, func(t *testing.T) {
			data := gzipped(t, test.members...)
			limits := droplet.Limits{MaxBytes: 64 << 10, MaxMembers: 10, MaxPath: 200}
			unpacked := droplet.Unpack(t.Context(), bytes.NewReader(data), openRoot(t, t.TempDir()), ".", droplet.UnpackOptions{Limits: limits})
			_, verified := droplet.Verify(t.Context(), bytes.NewReader(data), droplet.VerifyOptions{Limits: limits})
			if test.want == nil {
				require.NoError(t, unpacked)
				require.NoError(t, verified)
				return
			}
			assert.ErrorIs(t, unpacked, test.want)
			if !errors.Is(verified, droplet.ErrAmbiguous) { // found before there are too many
				assert.ErrorIs(t, verified, test.want)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	good := pack(t, staged(t), droplet.PackOptions{})
	zstd := pack(t, staged(t), droplet.PackOptions{Format: droplet.Zstd})
	info := &tar.Header{Name: "staging_info.yml", Mode: 0o644}
	broken := errors.New("disk on fire")
	for name, test := range map[string]struct {
		r    io.Reader
		want error
	}{
		"empty":             {strings.NewReader(""), droplet.ErrFormat},
		"text":              {strings.NewReader("<html>"), droplet.ErrFormat},
		"zip":               {strings.NewReader("PK\x03\x04 and so on"), droplet.ErrFormat},
		"gzip of nothing":   {bytes.NewReader(gzipped(t)), droplet.ErrDamaged},
		"gzip cut short":    {bytes.NewReader(good[:len(good)-1]), droplet.ErrDamaged},
		"zstd cut short":    {bytes.NewReader(zstd[:len(zstd)-1]), droplet.ErrDamaged},
		"gzip altered":      {bytes.NewReader(flipped(good)), droplet.ErrDamaged},
		"zstd altered":      {bytes.NewReader(flipped(zstd)), droplet.ErrDamaged},
		"gzip and rubbish":  {io.MultiReader(bytes.NewReader(good), strings.NewReader("x")), droplet.ErrDamaged},
		"zstd and rubbish":  {io.MultiReader(bytes.NewReader(zstd), strings.NewReader("rubbish")), droplet.ErrDamaged},
		"no tar":            {bytes.NewReader(compressed(t, strings.Repeat("no tar", 1000))), droplet.ErrDamaged},
		"two staging infos": {bytes.NewReader(gzipped(t, info, &tar.Header{Name: "./staging_info.yml"})), droplet.ErrAmbiguous},
		"broken disk":       {io.MultiReader(bytes.NewReader(good[:100]), failing{broken}), broken},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := droplet.Verify(t.Context(), test.r, droplet.VerifyOptions{AbsoluteLinks: true})
			require.ErrorIs(t, err, test.want)
			assert.Equal(t, test.want == droplet.ErrDamaged, errors.Is(err, droplet.ErrDamaged))
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := droplet.Verify(ctx, bytes.NewReader(good), droplet.VerifyOptions{})
	require.ErrorIs(t, err, context.Canceled)
}

// flipped has one bit of the middle changed.
func flipped(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 0x10
	return data
}

func compressed(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	_, err := droplet.Compress(context.Background(), &out, strings.NewReader(text), droplet.PackOptions{})
	require.NoError(t, err)
	return out.Bytes()
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
