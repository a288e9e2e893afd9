package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/internal/needs"
)

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	if user := request.URL.User; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			request.Host = header[i+1]
		}
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(body)
}

func temp(t *testing.T, content string) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	file := filepath.Join(dir, "output")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	return file
}

// What is logged and counted of requests. Nothing is logged by which a person could read files.
func TestAccessLogAndMetrics(t *testing.T) {
	t.Parallel()
	file := temp(t, strings.Repeat("0123456789", 10_000))
	f := newFront(t, newFileAPI(t, file), nil)
	const target = "/instance_paths/abc?hmac=good&path=%2Flogs%2Fstdout.log&timestamp=1"
	secrets := []string{"Authorization", "bearer top-secret", "X-Forwarded-For", "203.0.113.7"}
	response, body := get(t, f.url+target, secrets...)
	assert.Equal(t, 200, response.StatusCode)
	assert.Len(t, body, 100_000)
	response, _ = get(t, f.url+target, append(secrets, "Range", "bytes=5-10")...)
	assert.Equal(t, 206, response.StatusCode)
	response, _ = get(t, f.url+"/instance_paths/abc?hmac=bad-1234&path=x&timestamp=1", secrets...)
	assert.Equal(t, 401, response.StatusCode)
	response, _ = get(t, f.url+"/instance_paths/abc%3Fhmac=bad-1234?path=x%26hmac%3Dbad-1234", secrets...)
	assert.Equal(t, 401, response.StatusCode)
	response, _ = get(t, f.url+"/"+strings.Repeat("x", 5000))
	assert.Equal(t, 401, response.StatusCode)

	var text string
	require.Eventually(t, func() bool {
		text = f.logs("directory.request")
		return strings.Count(text, "directory.request") == 5
	}, patience, 2*time.Millisecond)
	for _, want := range []string{
		`"path":"/instance_paths/abc","file":"/logs/stdout.log","tail":false,"status":200,"bytes":100000,"complete":true,"duration":`,
		`"status":206,"bytes":6,`, `"status":401`, `"forwarded_for":"203.0.113.7"`,
	} {
		assert.Contains(t, text, want)
	}
	for _, secret := range []string{"good", "bad-1234", "top-secret", "bearer", strings.Repeat("x", 600)} {
		assert.NotContains(t, text, secret)
	}

	_, page := get(t, f.metrics)
	for _, line := range []string{
		`directory_requests_total{status="200"} 1`, `directory_requests_total{status="206"} 1`, `directory_requests_total{status="401"} 3`,
		"directory_requests 0", "directory_tails 0", `directory_unfinished_total{reason="client"} 0`, "directory_log_lines_lost_total 0", "directory_dea_up 1",
	} {
		assert.Contains(t, page, "\n"+line+"\n")
	}
	assert.Contains(t, page, `component_info{index="4",type="DirectoryServer"`)
	_, page = get(t, strings.Replace(f.metrics, "metrics", "healthz", 1))
	assert.Equal(t, "ok\n", page)
	response, _ = get(t, strings.Replace(f.metrics, "u:p@", "", 1))
	assert.Equal(t, 401, response.StatusCode)

	require.NoError(t, os.Rename(f.log, f.log+".1"))
	f.Signal(syscall.SIGHUP)
	require.Eventually(t, func() bool {
		get(t, f.url+target)
		data, err := os.ReadFile(f.log)
		return err == nil && strings.Contains(string(data), "directory.request")
	}, patience, 5*time.Millisecond, "the log goes on in a new file")
}

// beginTail opens a tail and returns its body after the first line.
func beginTail(t *testing.T, url string) *http.Response {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	t.Cleanup(func() { response.Body.Close() })
	require.Equal(t, 200, response.StatusCode)
	line := make([]byte, len("one\n"))
	_, err = io.ReadFull(response.Body, line)
	require.NoError(t, err)
	require.Equal(t, "one\n", string(line))
	return response
}

const tailed = "/instance_paths/abc?hmac=good&path=x&timestamp=1&tail&tail_offset=0"

// TERM ends tails so that their readers can tell, and lets other requests end.
func TestTermEndsTails(t *testing.T) {
	t.Parallel()
	f := newFront(t, newFileAPI(t, temp(t, "one\n")), nil)
	var tails []*http.Response
	for range 20 {
		tails = append(tails, beginTail(t, f.url+tailed))
	}
	_, page := get(t, f.metrics)
	assert.Contains(t, page, "directory_tails 20\n")
	f.Signal(syscall.SIGTERM)
	f.Signal(syscall.SIGINT) // a supervisor that sends two at once means one
	for _, tail := range tails {
		_, err := io.ReadAll(tail.Body)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	assert.Equal(t, exitOK, f.End())
	text := f.logs("directory.stopped")
	assert.Equal(t, 20, strings.Count(text, `"tail":true,"status":200,"bytes":4,"complete":false`))
	assert.Equal(t, 20, strings.Count(text, `"reason":"closed"`))
	_, err := http.Get(f.url + tailed)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// streaming_timeout ends a tail that is silent, so that its reader can tell.
func TestStreamingTimeout(t *testing.T) {
	t.Parallel()
	f := newFront(t, newFileAPI(t, temp(t, "one\n")), object{"streaming_timeout": 1})
	tail := beginTail(t, f.url+tailed)
	_, err := io.ReadAll(tail.Body)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	f.logs(`"complete":false`)
	_, page := get(t, f.metrics)
	assert.Contains(t, page, `directory_unfinished_total{reason="idle"} 1`)
}

// A second signal ends the program although a request is not finished.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	f := newFront(t, newFileAPI(t, temp(t, strings.Repeat("x", 64<<20))), nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET /instance_paths/abc?hmac=good&path=x&timestamp=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n') // and no more of it: the answer does not fit into the socket
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK\r\n", line)
	f.Signal(syscall.SIGTERM)
	f.Insist(syscall.SIGTERM) // those of the first second count as one
	assert.Equal(t, exitFailed, f.End())
	assert.Contains(t, f.Text(), "ended at once by a second signal")
}

// Under keeps the server from files that the DEA names by mistake.
func TestUnder(t *testing.T) {
	t.Parallel()
	file, under := temp(t, "content"), t.TempDir()
	port := programtest.FreePort(t)
	p := programtest.Start(t, "-conf", write(t, object{
		"directory_server": object{"v2_port": port, "file_api_port": newFileAPI(t, file)}, "deakit": object{"host": "127.0.0.1"},
	}), "--under", under)
	p.Says("directory.listening")
	response, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/instance_paths/abc?hmac=good&path=x&timestamp=1", port))
	assert.Equal(t, 403, response.StatusCode)
	assert.JSONEq(t, `{"error":"Not accessible"}`, body)
	p.Says(`"reason":"Not accessible: ` + file + ` is not below ` + under)
}

// Without its DEA it says so, once at the start and in a figure; each request is one line.
func TestWithoutDEA(t *testing.T) {
	t.Parallel()
	f := newFront(t, programtest.FreePort(t), nil)
	response, body := get(t, f.url+tailed)
	assert.Equal(t, 500, response.StatusCode)
	assert.Equal(t, "DEA is unreachable\n", body)
	text := f.logs("directory.request")
	assert.Equal(t, 1, strings.Count(text, "directory.dea.unreachable"))
	assert.Equal(t, 2, strings.Count(text, "connection refused"), "one at the start, one for the request")
	assert.Contains(t, text, `"status":500`)
	_, page := get(t, f.metrics)
	assert.Contains(t, page, "\ndirectory_dea_up 0\n")
}

// directory_cache spares the DEA questions about the same URL.
func TestDirectoryCache(t *testing.T) {
	t.Parallel()
	file := temp(t, "content")
	var questions atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	api := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		questions.Add(1)
		fmt.Fprintf(w, `{"instance_path":%q}`, file)
	})}
	served := make(chan error, 1)
	go func() { served <- api.Serve(l) }()
	defer func() { _ = api.Close(); <-served }()
	port := programtest.FreePort(t)
	p := programtest.Start(t, "-conf", write(t, object{
		"directory_server": object{"v2_port": port, "file_api_port": l.Addr().(*net.TCPAddr).Port},
		"deakit":           object{"host": "127.0.0.1", "directory_cache": 1, "file_urls": object{"lifetime": 7200}},
	}))
	p.Says("directory.listening")
	target := fmt.Sprintf("http://127.0.0.1:%d/instance_paths/abc?hmac=good&path=x&timestamp=%d", port, time.Now().Add(-5400*time.Second).Unix())
	for range 50 {
		_, body := get(t, target)
		require.Equal(t, "content", body)
	}
	assert.Less(t, questions.Load(), int32(50))
}

// As root it reads with the rights of the user whom the files belong to, unless it is told otherwise. Directories above, of root alone,
// are passed all the same.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	file := temp(t, "content")
	dir := filepath.Dir(file)
	require.NoError(t, os.Chown(dir, 4711, 4711))
	require.NoError(t, os.Chmod(file, 0o600))
	for _, tc := range []struct {
		owner  int
		args   []string
		status int
	}{{0, nil, 403}, {4711, nil, 200}, {0, []string{"--as-root"}, 200}} {
		require.NoError(t, os.Chown(file, tc.owner, tc.owner))
		port := programtest.FreePort(t)
		p := programtest.Start(t, append(tc.args, "-conf", write(t, object{
			"directory_server": object{"v2_port": port, "file_api_port": newFileAPI(t, file)}, "deakit": object{"host": "127.0.0.1"},
		}))...)
		p.Says("directory.listening")
		response, _ := get(t, fmt.Sprintf("http://127.0.0.1:%d/instance_paths/abc?hmac=good&path=x&timestamp=1", port))
		assert.Equal(t, tc.status, response.StatusCode, tc)
	}
}
