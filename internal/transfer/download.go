package transfer

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ErrSHA1Mismatch: what came is not what DownloadOptions.SHA1 promised.
var ErrSHA1Mismatch = errors.New("SHA1 mismatch")

// A DownloadError is a failed download. Its text is that of the original (dea_ng).
type DownloadError struct {
	Status int   // of the answer, if it was not 200; 0 otherwise
	Err    error // what happened, if it was not the status
}

func (e *DownloadError) Error() string {
	switch {
	case errors.Is(e.Err, ErrSHA1Mismatch):
		return "Error downloading: SHA1 mismatch"
	case e.Status != 0:
		return fmt.Sprintf("Error downloading: HTTP status: %d", e.Status)
	}
	return fmt.Sprintf("Error downloading: Response status: unknown, Error: %v", e.Err)
}

// Unwrap returns what happened, nil if it was the status.
func (e *DownloadError) Unwrap() error { return e.Err }

// DownloadOptions are the options of [Download]. The zero value is that of the original.
type DownloadOptions struct {
	ConnectTimeout time.Duration // default 5 s, for each host
	Inactivity     time.Duration // longest time in which nothing comes; default 30 s
	MaxBytes       int64         // default 4 GiB

	// SHA1 is the digest that the content must have, 40 hexadecimal digits. Empty means that any will do.
	SHA1 string

	// FollowRedirects follows up to 10 redirects, never from https to http. By default a redirect is a failure like
	// any status other than 200. User info goes to the host and port of the URL alone, and no host learns which URL led
	// to it.
	FollowRedirects bool
}

// Download writes what a GET of the URL answers to dst. Only status 200 is success; the user info of the URL becomes
// basic authentication. The content is not decompressed, whatever its encoding. Every error is a [*DownloadError];
// after one, dst may have received a part. A nil client is replaced by one without proxy; the redirect policy and the
// timeout of a client do not apply.
func Download(ctx context.Context, client *http.Client, rawURL string, dst io.Writer, opts DownloadOptions) error {
	u, err := parse(rawURL)
	if err != nil {
		return &DownloadError{Err: err}
	}
	connect := cmp.Or(opts.ConnectTimeout, defaultConnect)
	client, idle := noRedirect(client, connect)
	defer idle()
	if opts.FollowRedirects {
		client.CheckRedirect = follow
	}
	ctx, w := newWatch(ctx, connect, cmp.Or(opts.Inactivity, defaultInactivity))
	defer w.stop()
	status, err := download(ctx, client, u, dst, opts, w)
	if err != nil {
		return &DownloadError{Err: cause(ctx, err)}
	}
	if status != http.StatusOK {
		return &DownloadError{Status: status}
	}
	return nil
}

func follow(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= 10:
		return errors.New("more than 10 redirects")
	case req.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https":
		return errors.New("redirect from https to another scheme")
	}
	// The client would pass these on to other ports and to subdomains; the query of a URL may be a signature.
	req.Header.Del("Referer")
	if req.URL.Host != via[0].URL.Host {
		req.Header.Del("Authorization")
	}
	return nil
}

func download(ctx context.Context, client *http.Client, u *url.URL, dst io.Writer, opts DownloadOptions, w *watch) (int, error) {
	req, err := newRequest(ctx, http.MethodGet, u)
	if err != nil {
		return 0, err
	}
	// Without this the client unpacks a .tgz that a server declares to be gzip-encoded, and no digest is right.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	most := cmp.Or(opts.MaxBytes, 4<<30)
	if resp.ContentLength > most {
		return 0, fmt.Errorf("more than %d bytes", most)
	}
	h := sha1.New()
	if _, err := io.Copy(onlyWriter{io.MultiWriter(dst, h)}, &body{resp.Body, w, most, most}); err != nil {
		return 0, err
	}
	if want := strings.ToLower(opts.SHA1); want != "" && want != hex.EncodeToString(h.Sum(nil)) {
		return 0, ErrSHA1Mismatch
	}
	return resp.StatusCode, nil
}

type onlyWriter struct{ io.Writer }
