package transfer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxAnswer bounds the answers to uploads and polls.
const maxAnswer = 1 << 20

// An UploadError is a failed upload. Its text is that of the original (dea_ng):
//
//	Error uploading: (Upload failed - status 500)
//	Error uploading: (Upload failed - status 0; error: connection refused)
//	Error uploading: (Polling failed - status 500)
//	Error uploading: (invalid json)
//	Error uploading: (invalid URL <text>)
//	Error uploading: (polling invalid json)
//	Error uploading: (Staging upload failed.)
//	Error uploading: (Job took too long)
type UploadError struct {
	Reason string // the first part within the parentheses
	Status int    // of the answer, -1 if it does not matter, 0 if none came
	Err    error  // why no answer came; nil otherwise
}

func (e *UploadError) Error() string {
	s := "Error uploading: (" + e.Reason
	if e.Status >= 0 {
		s += fmt.Sprintf(" - status %d", e.Status)
	}
	if e.Err != nil {
		s += "; error: " + e.Err.Error()
	}
	return s + ")"
}

// Unwrap returns why no answer came.
func (e *UploadError) Unwrap() error { return e.Err }

// UploadOptions are the options of [Upload]. The zero value uploads a droplet as the original does.
type UploadOptions struct {
	FileName string // default "droplet.tgz"; the stager's other one is "buildpack_cache.tgz"

	// Plain leaves the query as it is, takes any status below 400 for success, and finds no job in the answer, for receivers
	// from before there were such (vcap_stager).
	Plain bool

	ConnectTimeout time.Duration // default 5 s
	Inactivity     time.Duration // longest time in which nothing moves, and for the answer; default 300 s
	MaxTime        time.Duration // for all of it, the polls included; default 1 h

	PollInterval   time.Duration // between the end of a poll and the next one; default 1 s
	PollInactivity time.Duration // for the answer to a poll; default 10 s
	MaxPolls       int           // that find the job unfinished; default 300
}

// Upload posts size bytes of content to the URL, as the one part "upload[droplet]" of a multipart form, with its exact
// Content-Length, and with async=true in front of the query (dea_ng). The user info of the URL becomes basic
// authentication. Redirects are not followed.
//
// A status below 300 is success. If the answer names a job, that is polled, the first time at once, until it has
// finished or failed; polls that time out count as unfinished, and so do up to 10 in a row that nobody answers, or that are
// answered with 5xx. Every error is an [*UploadError]. Nobody reads content
// any more when Upload has returned. A nil client is replaced by one without proxy; the redirect policy and the timeout
// of a client do not apply.
func Upload(ctx context.Context, client *http.Client, rawURL string, content io.ReaderAt, size int64, opts UploadOptions) error {
	up, err := newUpload(client, rawURL, opts)
	if err != nil {
		return err
	}
	defer up.idle()
	ctx, cancel := withMaxTime(ctx, opts.MaxTime)
	defer cancel()
	shared := &source{ReaderAt: content} // the client may read on for a moment when it has the answer already
	defer shared.end()
	answer, err := up.post(ctx, size, func() io.Reader { return io.NewSectionReader(shared, 0, size) })
	if err != nil {
		return err
	}
	return up.settle(ctx, answer)
}

// An upload is what one upload goes by.
type upload struct {
	client *http.Client
	idle   func() // closes connections of a client of our own
	url    *url.URL
	opts   UploadOptions
}

func newUpload(client *http.Client, rawURL string, opts UploadOptions) (*upload, error) {
	u, err := parse(rawURL)
	if err != nil {
		return nil, &UploadError{Reason: "Upload failed", Err: err}
	}
	opts.FileName = cmp.Or(opts.FileName, "droplet.tgz")
	opts.ConnectTimeout = cmp.Or(opts.ConnectTimeout, defaultConnect)
	opts.Inactivity = cmp.Or(opts.Inactivity, defaultUploadInactivity)
	opts.PollInterval = cmp.Or(opts.PollInterval, time.Second)
	opts.PollInactivity = cmp.Or(opts.PollInactivity, defaultPollInactivity)
	opts.MaxPolls = cmp.Or(opts.MaxPolls, 300)
	up := &upload{url: u, opts: opts}
	if !opts.Plain {
		up.url = asynchronous(u)
	}
	up.client, up.idle = noRedirect(client, opts.ConnectTimeout)
	return up, nil
}

// settle awaits the job that an answer names, if it names one.
func (up *upload) settle(ctx context.Context, answer string) error {
	if up.opts.Plain || !strings.Contains(answer, "url") {
		return nil
	}
	job, err := parseJob([]byte(answer))
	if err != nil {
		return &UploadError{Reason: "invalid json", Status: -1}
	}
	poll, err := parse(job.url)
	if err != nil {
		return &UploadError{Reason: strings.TrimSpace("invalid URL " + printable(job.url)), Status: -1}
	}
	return await(ctx, up.client, poll, up.opts)
}

func asynchronous(u *url.URL) *url.URL {
	async := *u
	async.RawQuery = "async=true"
	if u.RawQuery != "" {
		async.RawQuery += "&" + u.RawQuery
	}
	return &async
}

// post sends the form and returns the body of a successful answer. A size of -1 means that the content is as long as it
// is, and that there is no second look at it.
func (up *upload) post(ctx context.Context, size int64, content func() io.Reader) (string, error) {
	ctx, w := newWatch(ctx, up.opts.ConnectTimeout, up.opts.Inactivity)
	defer w.stop()
	req, err := newRequest(ctx, http.MethodPost, up.url)
	if err != nil {
		return "", &UploadError{Reason: "Upload failed", Err: err}
	}
	boundary := "multipart-boundary-" + rand.Text()
	head := "--" + boundary + "\r\n" +
		`Content-Disposition: form-data; name="upload[droplet]"; filename="` + quoted(up.opts.FileName) + "\"\r\n" +
		"Content-Type: application/octet-stream\r\n\r\n"
	tail := "\r\n--" + boundary + "--\r\n"
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	body := func() (io.ReadCloser, error) {
		return io.NopCloser(&form{io.MultiReader(strings.NewReader(head), content(), strings.NewReader(tail)), w}), nil
	}
	req.Body, _ = body()
	req.ContentLength = -1
	if size >= 0 {
		req.ContentLength = int64(len(head)) + size + int64(len(tail))
		req.GetBody = body // so that the client can start again when a connection it kept turns out to be dead
	}
	status, answer, err := exchange(ctx, up.client, req, w)
	if err != nil || status >= 400 || status >= 300 && !up.opts.Plain {
		return "", &UploadError{Reason: "Upload failed", Status: status, Err: err}
	}
	return answer, nil
}

// quoted escapes a file name as browsers do in forms.
func quoted(name string) string {
	return strings.NewReplacer(`"`, "%22", "\r", "%0D", "\n", "%0A").Replace(name)
}

// form is the request body: it watches the sending, and lets the watch sleep while the content is made.
type form struct {
	r io.Reader
	w *watch
}

func (f *form) Read(p []byte) (int, error) {
	f.w.pause()
	n, err := f.r.Read(p)
	f.w.moved()
	return n, err
}

// source is the content until end, after which nobody reads it any more. The bodies that the client was given cannot
// tell: some it never closes, such as those it makes for a redirect that it then does not follow.
type source struct {
	io.ReaderAt
	mu    sync.RWMutex // held while somebody reads
	ended bool
}

var errEnded = errors.New("the upload is over")

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ended {
		return 0, errEnded
	}
	return s.ReaderAt.ReadAt(p, off)
}

func (s *source) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// exchange sends a request and reads the answer. The status is 0 if none came.
func exchange(ctx context.Context, client *http.Client, req *http.Request, w *watch) (int, string, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", cause(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return resp.StatusCode, "", nil
	}
	var answer strings.Builder
	if _, err := io.Copy(&answer, &body{resp.Body, w, maxAnswer, maxAnswer}); err != nil {
		return resp.StatusCode, "", cause(ctx, err)
	}
	return resp.StatusCode, answer.String(), nil
}

// maxLost is how many polls in a row may be lost: what was uploaded is there, and a job goes on while nobody hears of it.
const maxLost = 10

// isLost tells whether a poll brought no word of the job: nobody answered, or somebody who knows nothing of it (5xx).
func isLost(err error) bool {
	var failed *UploadError
	return errors.As(err, &failed) && (failed.Err != nil || failed.Status >= 500)
}

// await polls a job until it ends.
func await(ctx context.Context, client *http.Client, u *url.URL, opts UploadOptions) error {
	lost := 0
	for range opts.MaxPolls {
		state, err := pollOnce(ctx, client, u, opts)
		if lost++; err == nil {
			lost = 0
		} else if lost > maxLost || ctx.Err() != nil || !isLost(err) {
			return err
		}
		switch state {
		case "finished":
			return nil
		case "failed":
			return &UploadError{Reason: "Staging upload failed.", Status: -1}
		}
		select {
		case <-time.After(opts.PollInterval):
		case <-ctx.Done():
			return &UploadError{Reason: "Polling failed", Err: context.Cause(ctx)}
		}
	}
	return &UploadError{Reason: "Job took too long", Status: -1}
}

func pollOnce(ctx context.Context, client *http.Client, u *url.URL, opts UploadOptions) (state string, err error) {
	ctx, w := newWatch(ctx, opts.ConnectTimeout, opts.PollInactivity)
	defer w.stop()
	req, err := newRequest(ctx, http.MethodGet, u)
	if err != nil {
		return "", &UploadError{Reason: "Polling failed", Err: err}
	}
	status, answer, err := exchange(ctx, client, req, w)
	if errors.Is(err, ErrTimeout) {
		return "", nil
	}
	if err != nil || status >= 300 {
		return "", &UploadError{Reason: "Polling failed", Status: status, Err: err}
	}
	job, err := parseJob([]byte(answer))
	if err != nil {
		return "", &UploadError{Reason: "polling invalid json", Status: -1}
	}
	return job.status, nil
}
