package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/directory"
)

const greeting = "app in mode serves\n"

// A DEA, its directory server, NATS and an app, each a process or close to it: files by the URLs of dea.find.droplet, and
// what becomes of them when either of the two is killed.
func TestBesideDEA(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.startServer()
	s.startDEA()
	route := s.Await("router.register", nil)
	assert.Equal(t, object{
		"host": "127.0.0.1", "port": float64(s.port), "uris": []any{"dea-3-files.example.com"}, "tags": object{"component": "directory-server-3"},
	}, route)
	s.startApp()

	log := s.signed("/logs/stdout.log")
	root := s.signed(nil)
	assert.Contains(t, root, "&path&timestamp=")
	response, listing := s.get(root)
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Contains(t, listing, "logs/                                        -\n")
	_, again := s.get(strings.Replace(root, "&path&", "&path=&", 1)) // as the Cloud Controller re-encodes it
	assert.Equal(t, listing, again)
	response, body := s.get(log, "Authorization", "bearer secret-token")
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Equal(t, greeting, body)
	response, body = s.get(log, "Range", "bytes=4-5")
	assert.Equal(t, http.StatusPartialContent, response.StatusCode)
	assert.Equal(t, "in", body)
	response, body = s.get(strings.Replace(log, "stdout", "stderr", 1))
	assert.Equal(t, http.StatusUnauthorized, response.StatusCode)
	assert.JSONEq(t, `{"error":"Invalid HMAC"}`, body)

	t.Run("the directory server is killed", func(t *testing.T) {
		s.server.Kill()
		s.startServer()
		_, body := s.get(log)
		assert.Equal(t, greeting, body)
	})
	t.Run("the DEA is killed", func(t *testing.T) {
		s.dea.Kill()
		response, body := s.get(log)
		assert.Equal(t, http.StatusInternalServerError, response.StatusCode)
		assert.Equal(t, "DEA is unreachable\n", body)
		for len(s.Heard) > 0 {
			<-s.Heard
		}
		s.startDEA()
		s.running()
		_, body = s.get(s.signed("logs/stdout.log"))
		assert.Equal(t, greeting, body, "a new URL for an instance that was taken up again")
		_, body = s.get(log)
		assert.Equal(t, greeting, body, "a URL of the DEA that was killed: key and host name are configured")
	})
	t.Run("a tail of the app's last words", func(t *testing.T) {
		tail := s.tail(log)
		s.Send("dea.stop", object{"droplet": "app-guid"})
		rest, err := io.ReadAll(tail.Body)
		assert.NoError(t, err, "the file is gone: a proper end")
		assert.Equal(t, "told to end\n", string(rest))
		s.Await("dea.heartbeat", func(m object) bool { return len(m["droplets"].([]any)) == 0 })
		response, body := s.get(log)
		assert.Equal(t, http.StatusNotFound, response.StatusCode)
		assert.JSONEq(t, `{"error":"Unknown instance"}`, body)
	})
	_, page := get(t, s.status+"metrics")
	assert.Contains(t, page, "directory_tails 0\n")
	assert.NotContains(t, s.server.Text(), "secret-token")
	s.server.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, s.server.End())
	s.dea.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, s.dea.End())
	s.Await("router.unregister", func(m object) bool { return m["uris"].([]any)[0] == "dea-3-files.example.com" })
}

// tail follows the log of the app from its beginning, and returns the answer after the greeting.
func (s *site) tail(signed string) *http.Response {
	s.t.Helper()
	address, host := s.route(signed)
	request, err := http.NewRequest(http.MethodGet, address+"&tail&tail_offset=0", nil)
	require.NoError(s.t, err)
	request.Host = host
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { response.Body.Close() })
	line := make([]byte, len(greeting))
	_, err = io.ReadFull(response.Body, line)
	require.NoError(s.t, err)
	require.Equal(s.t, greeting, string(line))
	return response
}

// An original directory server (Go 1.1) asks our DEA in these words, and understands these answers.
func TestDEABehindAnOriginalDirectoryServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.startDEA()
	s.startApp()
	api := "http://127.0.0.1:" + s.fileAPIPort()
	ask := func(target string) string {
		return exchange(t, api, "GET "+target+" HTTP/1.1\r\nHost: "+strings.TrimPrefix(api, "http://")+
			"\r\nUser-Agent: Go 1.1 package http\r\nAccept-Encoding: gzip\r\n\r\n")
	}
	signed := s.signed("/logs/stdout.log")
	_, target, _ := strings.Cut(strings.TrimPrefix(signed, "http://"), "/")
	answer := ask("/" + target)
	assert.Regexp(t, `^HTTP/1\.1 200 OK\r\nContent-Length: \d+\r\nContent-Type: application/json\r\n\r\n\{"instance_path":"/.*/logs/stdout\.log"\}$`, answer)

	signer, err := directory.NewSigner(directory.SignerConfig{Keys: []string{key}})
	require.NoError(t, err)
	path, outside := "/no/such", "/.."
	id := strings.TrimPrefix(strings.Split(target, "?")[0], "instance_paths/")
	for target, want := range map[string]string{
		signer.InstanceURL("", "2a5e8c1f", &path): `404 Not Found|{"error":"Unknown instance"}`,
		signer.StagingURL("", "2a5e8c1f", &path):  `404 Not Found|{"error":"Unknown staging task"}`,
		signer.InstanceURL("", id, &path):         `404 Not Found|{"error":"Entity not found"}`,
		signer.InstanceURL("", id, &outside):      `403 Forbidden|{"error":"Not accessible"}`,
		"/" + target + "&path=x":                  `401 Unauthorized|{"error":"Invalid HMAC"}`,
		"/instance_paths/x?path&timestamp=1":      `400 Bad Request|{"error":"hmac is missing"}`,
	} {
		status, body, _ := strings.Cut(want, "|")
		assert.Equal(t, fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n%s", status, len(body), body), ask(target), target)
	}
}
