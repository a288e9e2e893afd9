package directory

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Links into /proc lead wherever a process has something open; nothing of that is followed.
func TestMagicLinks(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"root/cwd": "->/proc/self/cwd", "root/fd": "->/proc/self/fd", "root/exe": "->/proc/self/exe",
		"root/up": "->/proc/self/root/etc/passwd", "root/dev": "->/dev/fd/0"})
	for _, tree := range []Tree{{Dir: filepath.Join(dir, "root")}, {Dir: filepath.Join(dir, "root"), ContainerRoot: dir},
		{Dir: filepath.Join(dir, "root"), NoLinks: true}} {
		for _, read := range readers(tree) {
			for _, path := range []string{"cwd", "fd", "fd/0", "exe", "up", "dev", "cwd/../etc"} {
				_, err := read(Location{Tree: tree, Path: path})
				assert.Error(t, err, path)
			}
		}
	}
	// Beneath a tree that has them itself, they are refused too, or stay what they are: /proc/self is a link of the usual kind.
	for _, path := range []string{"self/cwd/x", "self/root/etc/passwd", "self/fd/0", "self/exe", "thread-self/root/etc"} {
		_, err := read(Location{Tree: Tree{Dir: "/proc"}, Path: path})
		assert.Error(t, err, path)
	}
}

// What blocks or acts when it is opened or read is not.
func TestDevices(t *testing.T) {
	for _, path := range []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/tty", "/dev/ptmx"} {
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		for _, tree := range []Tree{{Dir: "/dev"}, {Dir: "/dev", NoLinks: true}, {Dir: "/dev", ContainerRoot: "/"}} {
			_, err := Location{Tree: tree, Path: filepath.Base(path)}.Open()
			assert.ErrorIs(t, err, ErrNotAccessible, path)
		}
	}
	// /proc/kmsg is a regular file that waits for the kernel to say something.
	f := newFixture(t, Config{})
	f.registry.instances["app"] = Tree{Dir: "/proc"}
	resp, body := f.get("/kmsg")
	if resp.StatusCode == 200 {
		assert.Empty(t, body)
	} else {
		assert.Equal(t, 403, resp.StatusCode)
	}
}

func TestHostilePaths(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("sub/file", "inside")
	layout(t, filepath.Dir(f.root), map[string]string{"outside": "secret"})
	for _, path := range []string{"\x00", "sub/file\x00", "sub\x00/../../outside", "/sub/\n", strings.Repeat("../", 2000) + "etc/passwd",
		strings.Repeat("a/", 3000), "sub/file/..", "sub/file/.", "..\\outside", "%2e%2e/outside", "..%2foutside", "....//outside",
		"sub/../../outside", "/../../../../../../outside", "\xff\xfe", strings.Repeat("x", 300)} {
		resp, body := f.get(path)
		assert.Contains(t, []int{403, 404}, resp.StatusCode, "%q", path)
		assert.NotContains(t, body, "secret")
	}
	// The same by hand: what is escaped once more, or not at all, is another text and not what was signed.
	for _, target := range []string{"/instance_paths/app%2f..%2fother", "/instance_paths/..%2fapp", "/instance_paths/app/../app",
		"//instance_paths/app", "/instance_paths/app%00", "/instance_paths/%2e%2e", "/instance_paths/./app"} {
		resp, body := f.do("GET", f.url+f.signer.SignedPath(target, text("sub/file")))
		assert.NotEqual(t, 200, resp.StatusCode, target)
		assert.NotContains(t, body, "inside", target)
	}
}

// FuzzURL sends any URL to a directory server and, over a file API, to another one: none panics, hangs, or shows what is
// outside, and what both are asked they answer alike.
func FuzzURL(f *testing.F) {
	dir := realTempDir(f)
	layout(f, dir, map[string]string{"secret": "secret", "root/a": "inside", "root/d/x": "inside", "root/l": "->d",
		"root/up": "->..", "root/abs": "->" + dir, "root/h": "->" + dir + "/root/d", "root/top": "->/"})
	require.NoError(f, unix.Mkfifo(filepath.Join(dir, "root/fifo"), 0o600))
	signer := signerAt(f, signedAt, testKey)
	local := NewLocal(signer, &registry{instances: map[string]Tree{"app": {Dir: filepath.Join(dir, "root")}}})
	near, err := NewServer(Config{Resolver: local})
	require.NoError(f, err)
	api, _ := serve(f, FileAPI(local, nil))
	remote, err := NewRemote(RemoteConfig{URL: api})
	require.NoError(f, err)
	f.Cleanup(remote.Close)
	far, err := NewServer(Config{Resolver: remote})
	require.NoError(f, err)

	for _, path := range []string{"a", "", "/", "l/x", "up/secret", "abs/secret", "fifo", "no", "a\x00", "../secret"} {
		f.Add(path, "", "*/*")
		f.Add(path, "&archive=zip", "application/json")
		f.Add(path, ";tail_offset=x&tail", "text/html;q=0.5, */*")
	}
	f.Add("a", "&path=b&hmac=", "")
	f.Fuzz(func(t *testing.T, path, more, accept string) {
		for _, target := range []string{signer.SignedPath("/instance_paths/app", &path) + more, "/" + path + "?" + more} {
			u, err := url.ParseRequestURI(target)
			if err != nil || strings.Contains(target, " ") { // no request line can have it
				continue
			}
			var answers [2]*httptest.ResponseRecorder
			for i, server := range []*Server{near, far} {
				r := &http.Request{Method: "HEAD", URL: u, Header: http.Header{"Accept": {accept}}, Host: "x"} // the head of a tail ends
				answers[i] = httptest.NewRecorder()
				server.ServeHTTP(answers[i], r)
				if parseWishes(u.RawQuery).tail {
					continue
				}
				r.Method = "GET"
				answers[i] = httptest.NewRecorder()
				server.ServeHTTP(answers[i], r)
				body := answers[i].Body.String()
				if strings.Contains(body, "secret") && !strings.Contains(path+more, "secret") {
					t.Errorf("%q: %s", target, body)
				}
			}
			if answers[0].Code != answers[1].Code {
				t.Errorf("%q: %d and %d", target, answers[0].Code, answers[1].Code)
			}
		}
	})
}

// Answers of all sizes come whole and in order on one connection, also where the end of them is held back for a moment.
func TestPipelining(t *testing.T) {
	f := newFixture(t, Config{})
	var end func() error
	f.url, end = running(t, f.server)
	var requests strings.Builder
	sizes := []int{0, 1, 3000, 3072, 4096, 5000, 20_000, 32 << 10, 32<<10 + 1, 64 << 10, 65<<10 + 1, 300_000}
	for i, size := range sizes {
		name := fmt.Sprintf("file%d.txt", i)
		f.write(name, strings.Repeat(string(rune('a'+i)), size))
		fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", f.signed(name, "")[len(f.url):])
		fmt.Fprintf(&requests, "HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n", f.signed(name, "")[len(f.url):])
		fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n", f.signed(name, "")[len(f.url):])
	}
	conn := f.rawRequest(t, f.signed("file0.txt", ""))
	go func() { _, _ = io.WriteString(conn, requests.String()) }()
	in := bufio.NewReader(conn)
	expect := func(method string, status, size int) {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, status, resp.StatusCode)
		assert.Len(t, body, size)
	}
	expect("GET", 200, 0)
	for _, size := range sizes {
		expect("GET", 200, size)
		expect("HEAD", 200, 0)
		if size == 0 {
			expect("GET", 200, 0) // as net/http has it
		} else {
			expect("GET", 206, 1)
		}
	}
	require.NoError(t, conn.Close())
	require.NoError(t, end())
}
