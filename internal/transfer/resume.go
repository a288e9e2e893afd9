package transfer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A download is one download in one or several requests.
type download struct {
	client *http.Client
	url    *url.URL
	opts   DownloadOptions
	dst    io.Writer
	hash   hash.Hash

	got       int64
	size      int64  // of all the content; -1 where nobody told
	validator string // of the content that is coming, for If-Range; empty where it cannot be continued
	refused   error  // of dst
}

// run asks for the content, and for the rest of it as long as that makes sense.
func (d *download) run(ctx context.Context) error {
	delay := d.opts.ResumeDelay
	for resumes := 0; ; resumes++ {
		again, err := d.request(ctx)
		if err == nil {
			return d.check()
		}
		if !again || resumes >= d.opts.Resumes {
			return err
		}
		select {
		case <-time.After(delay):
			delay *= 2
		case <-ctx.Done():
			return &DownloadError{Err: context.Cause(ctx)}
		}
	}
}

func (d *download) check() error {
	if want := strings.ToLower(d.opts.SHA1); want != "" && want != hex.EncodeToString(d.hash.Sum(nil)) {
		return &DownloadError{Err: ErrSHA1Mismatch}
	}
	return nil
}

// request asks for what is missing. After a failure, again tells whether the rest could be asked for.
func (d *download) request(ctx context.Context) (again bool, err error) {
	whole := ctx
	ctx, w := newWatch(ctx, d.opts.ConnectTimeout, d.opts.Inactivity)
	defer w.stop()
	req, err := newRequest(ctx, http.MethodGet, d.url)
	if err != nil {
		return false, &DownloadError{Err: err}
	}
	// Without this the client unpacks a .tgz that a server declares to be gzip-encoded, and no digest is right.
	req.Header.Set("Accept-Encoding", "identity")
	rest := d.validator != ""
	if rest {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.got))
		req.Header.Set("If-Range", d.validator)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return rest && whole.Err() == nil, &DownloadError{Err: cause(ctx, err)}
	}
	defer resp.Body.Close()
	if rest {
		err = d.continues(resp)
	} else {
		err = d.begins(resp)
	}
	if err != nil {
		return rest && resp.StatusCode >= 500, err
	}
	if _, err := io.Copy(onlyWriter{d}, &body{resp.Body, w, d.opts.MaxBytes - d.got, d.opts.MaxBytes}); err != nil {
		fault := d.refused != nil || errors.As(err, new(tooLong)) || whole.Err() != nil
		return d.validator != "" && !fault, &DownloadError{Err: cause(ctx, err)}
	}
	return false, nil
}

// Write takes what comes.
func (d *download) Write(p []byte) (int, error) {
	n, err := d.dst.Write(p)
	d.hash.Write(p[:n])
	d.got += int64(n)
	d.refused = err
	return n, err
}

type onlyWriter struct{ io.Writer }

// begins reads the first answer.
func (d *download) begins(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return &DownloadError{Status: resp.StatusCode}
	}
	d.size = resp.ContentLength
	if d.size > d.opts.MaxBytes {
		return &DownloadError{Err: tooLong(d.opts.MaxBytes)}
	}
	if strings.EqualFold(resp.Header.Get("Accept-Ranges"), "bytes") {
		d.validator = validator(resp.Header, d.opts.SHA1 != "")
	}
	return nil
}

// validator returns what tells this content from any other: a strong entity tag, or a time of modification that is a
// second older than the answer (RFC 9110, 8.8.2.2). Where a digest is checked at the end, any such time will do.
func validator(h http.Header, digest bool) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return ""
	}
	answered, err := http.ParseTime(h.Get("Date"))
	if !digest && (err != nil || answered.Sub(modified) < time.Second) {
		return ""
	}
	return h.Get("Last-Modified")
}

// continues reads the answer to a request for the rest.
func (d *download) continues(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return &DownloadError{Err: errors.New("the content changed while it was downloaded")}
	}
	if resp.StatusCode != http.StatusPartialContent {
		return &DownloadError{Status: resp.StatusCode}
	}
	var first, last, total int64
	n, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total)
	if n == 2 { // the total may be "*"
		total, err = d.size, nil
	}
	if err != nil || first != d.got || last != total-1 || d.size >= 0 && total != d.size {
		return &DownloadError{Err: fmt.Errorf("the server was asked for the bytes from %d on and sent others", d.got)}
	}
	return nil
}
