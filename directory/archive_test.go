package directory

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// unzip returns names, with the content of files.
func unzip(t *testing.T, body string) map[string]string {
	t.Helper()
	r, err := zip.NewReader(strings.NewReader(body), int64(len(body)))
	require.NoError(t, err)
	files := map[string]string{}
	for _, f := range r.File {
		require.NotContains(t, files, f.Name, "twice")
		content, err := f.Open()
		require.NoError(t, err)
		data, err := io.ReadAll(content)
		require.NoError(t, err)
		files[f.Name] = string(data)
		assert.Zero(t, f.Mode()&(os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	}
	return files
}

func untar(t *testing.T, body string) (map[string]string, error) {
	t.Helper()
	unpacked, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for r := tar.NewReader(unpacked); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return files, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return files, err
		}
		require.NotContains(t, files, h.Name, "twice")
		files[h.Name] = string(data)
		assert.LessOrEqual(t, h.Mode, int64(0o777))
		assert.Contains(t, []byte{tar.TypeReg, tar.TypeDir}, h.Typeflag)
	}
}

func TestArchive(t *testing.T) {
	f := newFixture(t, Config{})
	large := strings.Repeat("0123456789abcdef", 10_000)
	layout(t, f.root, map[string]string{"app/main.rb": "main", "app/empty": "", "app/lib/large": large, "app/none/": "",
		"app/etc": "->/etc", "app/passwd": "->/etc/passwd", "app/inner": "->main.rb", "app/" + strings.Repeat("n", 200): "long",
		"app/é": "e", "outside": "no"})
	require.NoError(t, unix.Mkfifo(filepath.Join(f.root, "app/fifo"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(f.root, "app/main.rb"), 0o755|os.ModeSetuid))
	want := map[string]string{"main.rb": "main", "empty": "", "lib/": "", "lib/large": large, "none/": "",
		strings.Repeat("n", 200): "long", "é": "e"}

	for _, ask := range [][2]string{{"&archive=zip", "*/*"}, {"", "application/zip"}, {"&archive=zip&tail", "application/gzip"}} {
		resp, body := f.do("GET", f.signed("/app/", ask[0]), "Accept", ask[1])
		assert.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, "application/zip", resp.Header.Get("Content-Type"))
		assert.Equal(t, `attachment; filename=app.zip`, resp.Header.Get("Content-Disposition"))
		assert.Equal(t, want, unzip(t, body))
	}
	for _, ask := range [][2]string{{"&archive=tgz", "*/*"}, {"", "application/gzip"}} {
		resp, body := f.do("GET", f.signed("/app", ask[0]), "Accept", ask[1])
		assert.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, "application/gzip", resp.Header.Get("Content-Type"))
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		got, err := untar(t, body)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	resp, body := f.do("HEAD", f.signed("/", "&archive=tgz"))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, `attachment; filename=app.tgz`, resp.Header.Get("Content-Disposition"))
	assert.Empty(t, body)
	for _, ask := range [][3]string{
		{"/app/main.rb", "&archive=zip", "archive is for directories, and this is a file"}, {"/app/none", "&archive=rar", "archive must be zip or tgz"},
		{"/app", "&archive", "archive must be zip or tgz"}, {"/app/main.rb", "&tail_follow", "tail_follow needs tail"},
	} {
		resp, body = f.do("GET", f.signed(ask[0], ask[1]))
		assert.Equal(t, 400, resp.StatusCode, ask)
		assert.JSONEq(t, fmt.Sprintf(`{"error":%q}`, ask[2]), body, ask)
	}
	resp, _ = f.do("GET", f.signed("/app/main.rb", "&x=archive&zip&tail_offset=x&amp;download"))
	assert.Equal(t, 200, resp.StatusCode, "what dea_ng knows nothing of")
}

// A zip file may be unpacked where backslashes and colons lead elsewhere.
func TestZipNames(t *testing.T) {
	f := newFixture(t, Config{})
	layout(t, f.root, map[string]string{`..\..\evil`: "1", "C:evil": "2", "%5C": "3", `\`: "4", "a\nb": "5", "bad\xff": "6", "dot.": "7",
		"blank ": "8", "dir./x": "9", "...": "a", "ok.txt": "b", "\u202e": "c"})
	_, body := f.do("GET", f.signed("/", "&archive=zip"))
	files := unzip(t, body)
	assert.Equal(t, map[string]string{"..%5C..%5Cevil": "1", "C%3Aevil": "2", "%255C": "3", "%5C": "4", "a%0Ab": "5", "bad%FF": "6",
		"dot%2E": "7", "blank%20": "8", "dir%2E/": "", "dir%2E/x": "9", "..%2E": "a", "ok.txt": "b", "\u202e": "c"}, files)
	for name := range files {
		assert.True(t, filepath.IsLocal(name), name)
	}
	_, body = f.do("GET", f.signed("/", "&archive=tgz"))
	files, err := untar(t, body)
	require.NoError(t, err)
	assert.Equal(t, "6", files["bad\xff"])
	assert.Equal(t, "1", files[`..\..\evil`])
}

func TestArchiveBounds(t *testing.T) {
	f := newFixture(t, Config{MaxEntries: 5, MaxArchive: 3 << 20})
	for i := range 3 {
		f.write("many/"+strconv.Itoa(i), "")
		f.write("many/sub/"+strconv.Itoa(i), "")
	}
	require.NoError(t, os.MkdirAll(f.root+strings.Repeat("/d", maxDepth+2), 0o700))
	resp, body := f.do("GET", f.signed("/many", "&archive=tgz"))
	assert.Equal(t, 500, resp.StatusCode)
	assert.Equal(t, "Can't serve request due to error: the archive would be larger than allowed", body)
	assert.Empty(t, resp.Header.Get("Content-Disposition"))
	resp, _ = f.do("GET", f.signed("/d", "&archive=zip"))
	assert.Equal(t, 500, resp.StatusCode, "too deep")
	resp, _ = f.do("GET", f.signed("/many/sub", "&archive=zip"))
	assert.Equal(t, 200, resp.StatusCode)

	// What does not compress is on its way when it turns out to be too much: the end is missing, and the client can tell.
	noise := make([]byte, 2<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	f.write("large/a", string(noise))
	f.write("large/b", string(noise))
	for _, kind := range []string{"zip", "tgz"} {
		resp, err := f.client.Get(f.signed("/large", "&archive="+kind))
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NoError(t, resp.Body.Close())
	}
}

// A client that goes ends the work, and the next may begin.
func TestArchiveOfGoneClient(t *testing.T) {
	f := newFixture(t, Config{Archives: 1})
	path := f.write("d/zeros", "")
	require.NoError(t, os.Truncate(path, 1<<29)) // compresses to less than what socket buffers take
	f.write("other/x", "")
	req, err := http.NewRequest("GET", f.signed("/d", "&archive=tgz"), nil)
	require.NoError(t, err)
	resp, err := f.client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	resp, body := f.do("GET", f.signed("/other", "&archive=zip"))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Contains(t, unzip(t, body), "x")
}

// Files change while they are packed: the archive is whole all the same.
func TestCopyExactly(t *testing.T) {
	for _, c := range []struct{ content, want string }{
		{"12345", "12345"}, {"1234567", "12345"}, {"12", "12\x00\x00\x00"}, {"", "\x00\x00\x00\x00\x00"},
	} {
		var out bytes.Buffer
		require.NoError(t, copyExactly(&out, strings.NewReader(c.content), 5))
		assert.Equal(t, c.want, out.String())
	}
	var out bytes.Buffer
	require.NoError(t, copyExactly(&out, strings.NewReader("x"), 3*smallFile))
	assert.Equal(t, "x"+strings.Repeat("\x00", 3*smallFile-1), out.String())
	broken := errors.New("broken")
	assert.ErrorIs(t, copyExactly(&out, io.MultiReader(strings.NewReader("x"), errorReader{broken}), 5), broken)
}

type errorReader struct{ error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.error }

// noise writes a file that does not compress, and is more than socket buffers take, below a directory.
func (f *fixture) noise(dir string) {
	f.t.Helper()
	content := make([]byte, 16<<20)
	_, err := rand.NewChaCha8([32]byte{}).Read(content)
	require.NoError(f.t, err)
	f.write(dir+"/noise", string(content))
}

// A client that reads nothing holds up nothing but itself, and not for ever.
func TestArchiveOfStalledClient(t *testing.T) {
	f := newFixture(t, Config{Archives: 1, StreamingTimeout: 300 * time.Millisecond})
	f.noise("d")
	conn := f.rawRequest(t, f.signed("/d", "&archive=zip"))
	defer conn.Close()
	answers(t, conn)
	eventually(t, "ends", func() bool { return len(f.server.archives) == 0 })
}

// Clients that read nothing are waited for without a turn to pack, until they are too many.
func TestArchiveBesideStalledClients(t *testing.T) {
	f := newFixture(t, Config{Archives: 1})
	f.noise("d")
	f.write("other/x", "x")
	var stalled []net.Conn
	for range waitingArchives - 1 {
		stalled = append(stalled, f.rawRequest(t, f.signed("/d", "&archive=tgz")))
	}
	eventually(t, "all are at work", func() bool { return len(f.server.archives) == len(stalled) })
	resp, body := f.do("GET", f.signed("/other", "&archive=zip"))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, map[string]string{"x": "x"}, unzip(t, body))

	eventually(t, "that one is no longer counted", func() bool { return len(f.server.archives) == len(stalled) })
	stalled = append(stalled, f.rawRequest(t, f.signed("/d", "&archive=tgz")))
	eventually(t, "all are at work", func() bool { return len(f.server.archives) == len(stalled) })
	resp, _ = f.do("GET", f.signed("/other", "&archive=zip"))
	assert.Equal(t, 503, resp.StatusCode)
	assert.Equal(t, "5", resp.Header.Get("Retry-After"))
	assert.Empty(t, resp.Header.Get("Content-Disposition"))
	for _, conn := range stalled {
		require.NoError(t, conn.Close())
	}
	eventually(t, "all have ended", func() bool { return len(f.server.archives) == 0 && len(f.server.packing) == 0 })
}

// plainTar unpacks to the bytes of the tar archive.
func plainTar(r io.Reader) ([]byte, error) {
	unpacked, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unpacked)
}

// An app makes paths that are longer than any that can be opened, and a zip file keeps all of them to its end.
func TestArchiveOfLongNames(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("d/file", "")
	dir, err := unix.Open(f.root+"/d", placeFlags, 0)
	require.NoError(t, err)
	for range 100 {
		name := strings.Repeat("n", 200)
		require.NoError(t, unix.Mkdirat(dir, name, 0o755))
		below, err := openNoFollow(dir, name, placeFlags)
		require.NoError(t, err)
		require.NoError(t, unix.Close(dir))
		dir = below
	}
	f.write("file", "")
	for i := range maxNames / 20_000 {
		require.NoError(t, unix.Linkat(unix.AT_FDCWD, f.root+"/file", dir, strconv.Itoa(i), 0))
	}
	require.NoError(t, unix.Close(dir))
	for _, kind := range []string{"zip", "tgz"} {
		resp, err := f.client.Get(f.signed("/d", "&archive="+kind))
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF, kind)
		require.NoError(t, resp.Body.Close())
	}
}
