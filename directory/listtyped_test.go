package directory

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestListingJSON(t *testing.T) {
	f := newFixture(t, Config{})
	layout(t, f.root, map[string]string{"file": "12345", "empty": "", "dir/x": "", "link": "->/etc/passwd", "b\xffd\n": "x"})
	require.NoError(t, unix.Mkfifo(filepath.Join(f.root, "pipe"), 0o600))
	when := time.Date(2013, 11, 21, 2, 13, 20, 0, time.UTC)
	for _, name := range []string{"file", "dir"} {
		require.NoError(t, os.Chtimes(filepath.Join(f.root, name), when, when))
	}
	resp, body := f.do("GET", f.signed("/", ""), "Accept", "application/json")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
	assert.Equal(t, "Accept, User-Agent", resp.Header.Get("Vary"))
	assert.EqualValues(t, len(body), resp.ContentLength)
	var got Listing
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	for i := range got.Entries {
		if e := &got.Entries[i]; e.Name != "file" && e.Name != "dir" {
			assert.WithinDuration(t, time.Now(), e.Modified, time.Hour)
			e.Modified = when
		}
	}
	size := func(n int64) *int64 { return &n }
	assert.Equal(t, []Entry{
		{Name: "b\ufffdd\n", Raw: []byte("b\xffd\n"), Type: "file", Size: size(1), Modified: when},
		{Name: "dir", Type: "directory", Modified: when},
		{Name: "empty", Type: "file", Size: size(0), Modified: when},
		{Name: "file", Type: "file", Size: size(5), Modified: when},
		{Name: "link", Type: "link", Size: size(11), Modified: when},
		{Name: "pipe", Type: "other", Modified: when},
	}, got.Entries)

	_, body = f.do("GET", f.signed("/dir/../dir", ""), "Accept", "application/json")
	assert.Contains(t, body, `{"entries":[{"name":"x","type":"file","size":0,"modified":"`)
	require.NoError(t, os.Remove(filepath.Join(f.root, "dir/x")))
	_, body = f.do("GET", f.signed("/dir", ""), "Accept", "application/json")
	assert.Equal(t, "{\"entries\":[]}\n", body)
}

// A time that no calendar has is no reason to list nothing.
func TestListingOfAbsurdTime(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "deakit") // a file system that keeps any time
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	f := newFixture(t, Config{})
	f.registry.instances["app"] = Tree{Dir: dir}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600))
	absurd, err := unix.TimeToTimespec(time.Unix(1<<40, 0)) // the year 36812
	require.NoError(t, err)
	require.NoError(t, unix.UtimesNano(filepath.Join(dir, "file"), []unix.Timespec{absurd, absurd}))
	for _, accept := range []string{typeJSON, typeHTML, typeZip, typeTgz, "*/*"} {
		resp, body := f.do("GET", f.signed("/", ""), "Accept", accept)
		assert.Equal(t, 200, resp.StatusCode)
		assert.NotEmpty(t, body, accept)
	}
	resp, body := f.get("/file")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "x", body)
}

// Names are whatever an app makes them.
func TestListingHTML(t *testing.T) {
	f := newFixture(t, Config{})
	layout(t, f.root, map[string]string{"<script>alert(1)<": "1", `"><img src=x onerror=alert(1)>`: "2", "dir/": "",
		"javascript:alert(1)": "", "{{.}}": "", "&lt;": "", "big": strings.Repeat("x", 10000)})
	resp, body := f.do("GET", f.signed("/", ""), "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
	assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
	assert.Equal(t, "default-src 'none'; frame-ancestors 'none'; sandbox", resp.Header.Get("Content-Security-Policy"))
	for _, want := range []string{"<td>&lt;script&gt;alert(1)&lt;</td><td>1B</td>", "&#34;&gt;&lt;img src=x onerror=alert(1)&gt;",
		"<td>dir/</td><td>-</td>", "<td>{{.}}</td>", "<td>&amp;lt;</td>", "<td>big</td><td>9.8K</td>"} {
		assert.Contains(t, body, want)
	}
	assert.NotContains(t, body, "<script")
	assert.NotContains(t, body, "<img")
	assert.NotContains(t, body, "href")
}

// Clients of before get the text, whatever they send.
func TestListingTextIsTheDefault(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("x", "1")
	for _, accept := range []string{"*/*", "text/plain", "text/*", "nonsense", "image/png", "application/json;q=0.5, */*"} {
		resp, body := f.do("GET", f.signed("/", ""), "Accept", accept)
		assert.Equal(t, "text/plain", resp.Header.Get("Content-Type"), accept)
		assert.Equal(t, "x                                           1B\n", body, accept)
	}
}

// TestListingForOldClients: the cf CLI asks for JSON wherever it is sent on to, and reads the text (cloudfoundry/cli cf/net).
func TestListingForOldClients(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("file", "abc")
	resp, body := f.do("GET", f.signed("/", ""), "Accept", "application/json", "User-Agent", "go-cli 6.26.0+9c9a261fd.2017-04-06 / linux")
	assert.Equal(t, "text/plain", resp.Header.Get("Content-Type"))
	assert.Contains(t, body, "file")
	assert.NotContains(t, body, "{")
	assert.Equal(t, []string{"Accept, User-Agent"}, resp.Header.Values("Vary"))
}
