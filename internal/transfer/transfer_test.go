package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/internal/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server and returns its URL with the user info staging:se%2Fcret.
func serve(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http://", "http://staging:se%2Fcret@", 1)
}

// short is long enough for an answer from this machine to be missed only when none comes.
const short = 100 * time.Millisecond

func requireNoSecret(t *testing.T, err error) {
	t.Helper()
	for _, part := range []string{"staging:", "cret", "@"} {
		require.NotContains(t, err.Error(), part)
	}
}

func TestDownload(t *testing.T) {
	content := strings.Repeat("droplet ", 100_000)
	from := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		assert.Equal(t, "staging se/cret", user+" "+password)
		assert.Equal(t, "a=b%20c", r.URL.RawQuery)
		assert.Equal(t, "identity", r.Header.Get("Accept-Encoding"))
		w.Header().Set("Content-Encoding", "gzip") // a .tgz is, and is to stay so
		_, _ = io.WriteString(w, content)
	})
	for _, client := range []*http.Client{nil, http.DefaultClient} {
		var got bytes.Buffer
		err := transfer.Download(t.Context(), client, from+"/x?a=b%20c", &got, transfer.DownloadOptions{
			MaxBytes: int64(len(content)),
			SHA1:     fmt.Sprintf("%X", sha1.Sum([]byte(content))),
		})
		require.NoError(t, err)
		assert.True(t, content == got.String())
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestDownloadFails(t *testing.T) {
	from := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/moved":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/good":
			_, _ = io.WriteString(w, "good")
		case "/short":
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "too short")
		case "/chunked":
			for range 100 {
				_, _ = io.WriteString(w, strings.Repeat("x", 1000))
				w.(http.Flusher).Flush()
			}
		case "/hangs":
			<-r.Context().Done()
		case "/stops":
			_, _ = io.WriteString(w, "some")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})
	nobody := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	silent := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}}
	defer silent.CloseIdleConnections() // ends the dialing that nobody waits for
	const unknown = "Error downloading: Response status: unknown, Error: "
	for name, test := range map[string]struct {
		url    string
		client *http.Client
		opts   transfer.DownloadOptions
		text   string // all of it, or its beginning where it ends with a space
		is     error
	}{
		"not found":            {url: from + "/missing", text: "Error downloading: HTTP status: 404"},
		"redirect":             {url: from + "/moved", text: "Error downloading: HTTP status: 302"},
		"other success":        {url: from + "/empty", text: "Error downloading: HTTP status: 204"},
		"wrong digest":         {url: from + "/good", opts: transfer.DownloadOptions{SHA1: strings.Repeat("0", 40)}, text: "Error downloading: SHA1 mismatch", is: transfer.ErrSHA1Mismatch},
		"connection refused":   {url: "http://staging:secret@" + closed.Addr().String(), text: unknown + "dial "},
		"cut off":              {url: from + "/short", text: unknown + "unexpected EOF", is: io.ErrUnexpectedEOF},
		"declared as too long": {url: from + "/short", opts: transfer.DownloadOptions{MaxBytes: 10}, text: unknown + "more than 10 bytes"},
		"too long":             {url: from + "/chunked", opts: transfer.DownloadOptions{MaxBytes: 90_000}, text: unknown + "more than 90000 bytes"},
		"no answer":            {url: from + "/hangs", opts: transfer.DownloadOptions{Inactivity: short}, text: unknown + "nothing moved for 100ms: timed out", is: transfer.ErrTimeout},
		"stops in the middle":  {url: from + "/stops", opts: transfer.DownloadOptions{Inactivity: short}, text: unknown + "nothing moved for 100ms: timed out", is: transfer.ErrTimeout},
		"no connection":        {url: from + "/good", client: silent, opts: transfer.DownloadOptions{ConnectTimeout: short}, text: unknown + "no connection within 100ms: timed out", is: transfer.ErrTimeout},
		"no URL":               {url: "", text: unknown + "invalid URL"},
		"other scheme":         {url: "file:///etc/passwd", text: unknown + "invalid URL"},
		"bad URL":              {url: "http://staging:se/cret@host/", text: unknown + "invalid URL"},
		"server hangs up":      {url: nobody + "/", text: unknown + "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			err := transfer.Download(t.Context(), test.client, test.url, io.Discard, test.opts)
			var failed *transfer.DownloadError
			require.ErrorAs(t, err, &failed)
			requireNoSecret(t, err)
			if strings.HasSuffix(test.text, " ") {
				assert.True(t, strings.HasPrefix(err.Error(), test.text), err.Error())
			} else {
				assert.Equal(t, test.text, err.Error())
			}
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			}
		})
	}
}

func TestDownloadEndsWithItsContextAndWriter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	from := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/good" {
			_, _ = io.WriteString(w, "good")
			return
		}
		cancel()
		<-r.Context().Done()
	})
	require.ErrorIs(t, transfer.Download(ctx, nil, from, io.Discard, transfer.DownloadOptions{}), context.Canceled)
	full := errors.New("disk full")
	require.ErrorIs(t, transfer.Download(t.Context(), nil, from+"/good", fullDisk{full}, transfer.DownloadOptions{}), full)
}

type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

func TestDownloadFollowsRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Empty(t, r.Header.Get("Authorization"), "another host gets the password")
		assert.Empty(t, r.Referer(), "another host gets a URL that may be signed")
		_, _ = io.WriteString(w, "content")
	}))
	defer elsewhere.Close()
	from := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/same":
			_, password, _ := r.BasicAuth()
			_, _ = io.WriteString(w, password)
		case "/unreadable":
			w.Header().Set("Location", "http://staging:se cret@elsewhere/%zz")
			w.WriteHeader(http.StatusFound)
		default:
			http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
		}
	})
	opts := transfer.DownloadOptions{FollowRedirects: true}
	_, port, _ := strings.Cut(strings.TrimPrefix(elsewhere.URL, "http://"), ":")
	here, err := url.Parse(from)
	require.NoError(t, err)
	// To the client a subdomain and another port are the host that the password is for.
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		host := strings.NewReplacer("sub.cc.test", "127.0.0.1", "cc.test", "127.0.0.1").Replace(addr)
		return new(net.Dialer).DialContext(ctx, network, host)
	}}}
	defer client.CloseIdleConnections()
	named := strings.Replace(from, "127.0.0.1", "cc.test", 1)
	for to, want := range map[string]string{
		"http://localhost:" + port:                "content",
		"http://cc.test:" + port:                  "content",
		"http://sub.cc.test:" + port:              "content",
		"/same":                                   "se/cret",
		"http://cc.test:" + here.Port() + "/same": "se/cret",
	} {
		var got bytes.Buffer
		require.NoError(t, transfer.Download(t.Context(), client, named+"?sig=cret&to="+url.QueryEscape(to), &got, opts), to)
		assert.Equal(t, want, got.String(), to)
	}

	for path, text := range map[string]string{"/loop": "more than 10 redirects", "/unreadable": "redirect to an invalid URL"} {
		err := transfer.Download(t.Context(), nil, from+path, io.Discard, opts)
		require.ErrorContains(t, err, text)
		requireNoSecret(t, err)
	}
	secure := httptest.NewTLSServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer secure.Close()
	err = transfer.Download(t.Context(), secure.Client(), secure.URL, io.Discard, opts)
	require.ErrorContains(t, err, "redirect from https")
}

func TestDownloadWithoutBound(t *testing.T) {
	from := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "content") })
	var got bytes.Buffer
	require.NoError(t, transfer.Download(t.Context(), nil, from, &got, transfer.DownloadOptions{MaxBytes: math.MaxInt64}))
	assert.Equal(t, "content", got.String())
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"http://user:pass@cc.example.com:9022/staging/a%2Fb?sig=abc#f": "http://cc.example.com:9022/staging/a%2Fb?...",
		"https://token@host/": "https://host/",
		"http://host":         "http://host",
		"http://u:p%zz@host/": "(invalid URL)",
		"http://u:p/w@host/":  "(invalid URL)",
		"u:p@host":            "(invalid URL)",
		"":                    "(invalid URL)",
	} {
		assert.Equal(t, want, transfer.Redact(raw), raw)
	}
}

// cloudController answers an upload and then polls, one answer after the other; the last one is repeated. An answer is a
// status and a body.
type cloudController struct {
	t       *testing.T
	uploads []string
	mu      sync.Mutex
	polls   int
	answers []func(w http.ResponseWriter, r *http.Request)
}

func answer(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "$JOB", "http://job:pa55@"+r.Host+"/job"))
	}
}

// moved is a redirect for which the client makes another body, although it does not follow.
func moved(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func (c *cloudController) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	user, password, ok := r.BasicAuth()
	turn := 0
	if r.URL.Path == "/job" {
		assert.Equal(c.t, "job pa55", user+" "+password)
		c.polls++
		turn = min(c.polls, len(c.answers)-1)
	} else {
		assert.Equal(c.t, []any{"staging", "se/cret", true}, []any{user, password, ok})
		c.upload(r)
	}
	c.mu.Unlock()
	c.answers[turn](w, r)
}

func (c *cloudController) upload(r *http.Request) {
	assert.Equal(c.t, http.MethodPost, r.Method)
	assert.Equal(c.t, "async=true&a=b", r.URL.RawQuery)
	assert.Empty(c.t, r.TransferEncoding)
	raw, err := io.ReadAll(r.Body)
	assert.NoError(c.t, err)
	assert.EqualValues(c.t, len(raw), r.ContentLength)
	r.Body = io.NopCloser(bytes.NewReader(raw))
	form, err := r.MultipartReader()
	if !assert.NoError(c.t, err) {
		return
	}
	part, err := form.NextRawPart()
	if !assert.NoError(c.t, err) {
		return
	}
	assert.Equal(c.t, "upload[droplet]", part.FormName())
	assert.Equal(c.t, "application/octet-stream", part.Header.Get("Content-Type"))
	content, err := io.ReadAll(part)
	assert.NoError(c.t, err)
	c.uploads = append(c.uploads, part.FileName()+" "+string(content))
	_, err = form.NextPart()
	assert.Equal(c.t, io.EOF, err)
}

func (c *cloudController) start() string { return serve(c.t, c.ServeHTTP) + "/upload?a=b" }

var quick = transfer.UploadOptions{PollInterval: time.Millisecond, MaxPolls: 20}

func TestUpload(t *testing.T) {
	const queued = `{"metadata":{"url":"$JOB"},"entity":{"guid":"c5f1","status":"queued"}}`
	state := func(status string) func(http.ResponseWriter, *http.Request) {
		return answer(200, `{"metadata":{"url":"$JOB"},"entity":{"status":`+status+`}}`)
	}
	type answers = []func(http.ResponseWriter, *http.Request)
	for name, test := range map[string]struct {
		answers answers
		polls   int
		opts    transfer.UploadOptions
		text    string
	}{
		"synchronous":        {answers: answers{answer(201, "OK")}},
		"empty answer":       {answers: answers{answer(200, "")}},
		"finished at once":   {answers: answers{answer(200, queued), state(`"finished"`)}, polls: 1},
		"queued and running": {answers: answers{answer(200, queued), state(`"queued"`), state(`"running"`), state(`null`), answer(200, `{}`), state(`"finished"`)}, polls: 5},
		"job failed":         {answers: answers{answer(200, queued), state(`"running"`), state(`"failed"`)}, polls: 2, text: "(Staging upload failed.)"},
		"never ends":         {answers: answers{answer(200, queued), state(`"running"`)}, polls: 20, text: "(Job took too long)"},
		"poll times out": {answers: answers{answer(200, queued), hang, state(`"finished"`)}, polls: 2,
			opts: transfer.UploadOptions{PollInterval: 1, PollInactivity: short}},
		"redirect with the body": {answers: answers{moved}, text: "(Upload failed - status 307)"},
		"server error":           {answers: answers{answer(500, "url")}, text: "(Upload failed - status 500)"},
		"redirect":               {answers: answers{answer(302, "")}, text: "(Upload failed - status 302)"},
		"no answer":              {answers: answers{hang}, opts: transfer.UploadOptions{Inactivity: short}, text: "(Upload failed - status 0; error: nothing moved for 100ms: timed out)"},
		"page with url":          {answers: answers{answer(200, "<html>url</html>")}, text: "(invalid json)"},
		"url is null":            {answers: answers{answer(200, `{"metadata":{"url":null}}`)}, text: "(invalid URL)"},
		"url elsewhere":          {answers: answers{answer(200, `{"url":"$JOB"}`)}, text: "(invalid URL)"},
		"url is relative":        {answers: answers{answer(200, `{"metadata":{"url":"/job"}}`)}, text: "(invalid URL /job)"},
		"url with password":      {answers: answers{answer(200, `{"metadata":{"url":"x://a:b@c"}}`)}, text: "(invalid URL (with user info))"},
		"poll fails":             {answers: answers{answer(200, queued), answer(404, "")}, polls: 1, text: "(Polling failed - status 404)"},
		"poll is no JSON":        {answers: answers{answer(200, queued), answer(200, "[]")}, polls: 1, text: "(polling invalid json)"},
		"answer too large":       {answers: answers{answer(200, strings.Repeat("x", 1<<20+1))}, text: "(Upload failed - status 200; error: more than 1048576 bytes)"},
	} {
		t.Run(name, func(t *testing.T) {
			cc := &cloudController{t: t, answers: test.answers}
			to := cc.start()
			if test.opts == (transfer.UploadOptions{}) {
				test.opts = quick
			}
			err := transfer.Upload(t.Context(), nil, to, strings.NewReader("droplet"), 7, test.opts)
			if test.text == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, "Error uploading: "+test.text)
				var failed *transfer.UploadError
				require.ErrorAs(t, err, &failed)
			}
			assert.Equal(t, []string{"droplet.tgz droplet"}, cc.uploads)
			assert.Equal(t, test.polls, cc.polls)
		})
	}
}

// TestPlainUpload: the query is as it was, and an answer tells of no job.
func TestPlainUpload(t *testing.T) {
	for status, ok := range map[int]bool{200: true, 204: true, 302: true, 400: false, 401: false, 500: false} {
		asked := 0
		to := serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			_, _ = io.Copy(io.Discard, r.Body)
			assert.Equal(t, "a=b", r.URL.RawQuery)
			answer(status, `{"metadata":{"url":"http://127.0.0.1:1/job"}}`)(w, r)
		}) + "?a=b"
		err := transfer.Upload(t.Context(), nil, to, strings.NewReader("droplet"), 7, transfer.UploadOptions{Plain: true})
		assert.Equal(t, ok, err == nil, "%d: %v", status, err)
		assert.Equal(t, 1, asked, status)
	}
}

func TestUploadOfALargeFile(t *testing.T) {
	content := strings.Repeat("0123456789", 300_000)
	name := t.TempDir() + "/cache"
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	cc := &cloudController{t: t, answers: []func(http.ResponseWriter, *http.Request){answer(200, "")}}
	to := cc.start()
	require.NoError(t, transfer.Upload(t.Context(), nil, to, f, int64(len(content)), transfer.UploadOptions{FileName: "buildpack_cache.tgz"}))
	require.Len(t, cc.uploads, 1)
	assert.True(t, "buildpack_cache.tgz "+content == cc.uploads[0])
}

func TestUploadFails(t *testing.T) {
	refuse := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	err := transfer.Upload(t.Context(), nil, refuse, zeros{}, 1<<30, quick)
	require.ErrorContains(t, err, "Error uploading: (Upload failed - status ")
	requireNoSecret(t, err)

	for _, bad := range []string{"", "http://staging:se/cret@host"} {
		err = transfer.Upload(t.Context(), nil, bad, zeros{}, 1, quick)
		require.EqualError(t, err, "Error uploading: (Upload failed - status 0; error: invalid URL)")
	}
	// A file that is shorter than promised must not pass for a whole one.
	swallow := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	err = transfer.Upload(t.Context(), nil, swallow, strings.NewReader("short"), 10, quick)
	require.ErrorContains(t, err, "Upload failed - status 0; error: ")
}

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func TestPollingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cc := &cloudController{t: t}
	cc.answers = []func(http.ResponseWriter, *http.Request){
		answer(200, `{"metadata":{"url":"$JOB"}}`),
		func(w http.ResponseWriter, r *http.Request) {
			answer(200, `{"entity":{"status":"running"}}`)(w, r)
			cancel()
		},
	}
	to := cc.start()
	err := transfer.Upload(ctx, nil, to, strings.NewReader("droplet"), 7, transfer.UploadOptions{PollInterval: time.Hour})
	require.ErrorIs(t, err, context.Canceled)
}

// A dialer that gives up a moment before the watch does is no other kind of failure.
func TestPollThatCannotConnectIsAskedAgain(t *testing.T) {
	polled := false
	to := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if polled = r.URL.Path == "/job"; polled {
			_, _ = io.WriteString(w, `{"entity":{"status":"finished"}}`)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"metadata":{"url":"http://jobs.test/job"}}`)
	})
	server, err := url.Parse(to)
	require.NoError(t, err)
	dials := 0
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == "jobs.test:80" {
			if dials++; dials == 1 {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
			}
		}
		return new(net.Dialer).DialContext(ctx, network, server.Host)
	}}}
	defer client.CloseIdleConnections()
	require.NoError(t, transfer.Upload(t.Context(), client, to, strings.NewReader("droplet"), 7, quick))
	assert.True(t, polled)
}

func ExampleDownload() {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	u, _ := url.Parse(server.URL)
	u.User = url.UserPassword("staging", "secret")
	err := transfer.Download(context.Background(), nil, u.String(), io.Discard, transfer.DownloadOptions{})
	fmt.Println(err)
	// Output: Error downloading: HTTP status: 404
}
