package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// playDEA answers each connection's first request with raw text, as the file API of a DEA of 2014 (Grape on Thin) has it, and
// tells what it was asked.
func playDEA(t *testing.T, answer string) (port int, asked <-chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	requests := make(chan string, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			request, err := readHead(bufio.NewReader(conn))
			if err == nil {
				requests <- request
				_, _ = io.WriteString(conn, answer)
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port, requests
}

// readHead reads up to the empty line.
func readHead(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String(), err
		}
	}
}

// A client of any kind reaches the files of an original DEA: the question on the wire and the answers on the wire.
func TestBeforeAnOriginalDEA(t *testing.T) {
	t.Parallel()
	file := temp(t, "0123456789")
	dir := filepath.Dir(file)
	const target = "/instance_paths/2a5e8c1f?tail_offset=0&path=/logs/a+b%7Ec&hmac=23ab&timestamp=1385000000&x=%zz"
	for _, tc := range []struct {
		answer string
		want   string // for the client
	}{
		{
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\nServer: thin 1.5.1 codename Straight Razor\r\n\r\n" +
				`{"instance_path":"` + file + `"}`,
			"HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: 10\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n0123456789",
		},
		{
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" + `{"instance_path":"` + dir + `"}`,
			"HTTP/1.1 200 OK\r\nContent-Length: 47\r\nContent-Type: text/plain\r\n\r\noutput                                     10B\n",
		},
		{
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" + `{"instance_path":"/no/such/file"}`,
			"HTTP/1.1 400 Bad Request\r\nContent-Length: 18\r\nContent-Type: text/plain\r\nX-Cascade: pass\r\n\r\nEntity not found.\n",
		},
		{
			"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Other: kept\r\n\r\n" + `{"error":"Invalid HMAC"}`,
			"HTTP/1.1 401 Unauthorized\r\nContent-Length: 24\r\nContent-Type: application/json\r\nX-Other: kept\r\n\r\n{\"error\":\"Invalid HMAC\"}",
		},
		{
			"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n<html>",
			"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 32\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nDEA responded with invalid JSON\n",
		},
	} {
		if _, body, _ := strings.Cut(tc.answer, "\r\n\r\n"); strings.Contains(tc.answer, "%d") {
			tc.answer = strings.Replace(tc.answer, "%d", fmt.Sprint(len(body)), 1)
		}
		port, asked := playDEA(t, tc.answer)
		f := newFront(t, port, nil)
		answer := exchange(t, f.url, "GET "+target+" HTTP/1.1\r\nHost: 5b0f.example.com\r\nAuthorization: bearer secret\r\nCookie: a=b\r\n\r\n")
		assert.Equal(t, tc.want, answer, tc.answer)

		question := <-asked
		line, header, _ := strings.Cut(question, "\r\n")
		assert.Equal(t, "GET "+target+" HTTP/1.1", line, "as it was sent")
		assert.Contains(t, header, fmt.Sprintf("Host: 127.0.0.1:%d\r\n", port))
		assert.NotContains(t, header, "secret")
		assert.NotContains(t, header, "Cookie")
	}
}

// exchange sends a request as it stands, and returns the answer, its header sorted and without what changes
// from time to time, and what the original did not have.
func exchange(t *testing.T, url, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	for _, name := range []string{"Date", "Last-Modified", "X-Content-Type-Options", "Content-Security-Policy", "Vary"} {
		response.Header.Del(name)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "HTTP/1.1 %s\r\n", response.Status)
	if response.ContentLength >= 0 {
		response.Header.Set("Content-Length", fmt.Sprint(response.ContentLength))
	}
	require.NoError(t, response.Header.Write(&text))
	return text.String() + "\r\n" + string(body)
}
