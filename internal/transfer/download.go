package transfer

import (
	"cmp"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// DownloadOptions are the options of [Download]. The zero value is that of the original, with bounds.
type DownloadOptions struct {
	ConnectTimeout time.Duration // default 5 s, for each host
	Inactivity     time.Duration // longest time in which nothing comes; default 30 s
	MaxTime        time.Duration // for all of it, the writing to dst included; default 1 h
	MaxBytes       int64         // default 4 GiB

	// Resumes is how often a download that broke off in the middle is continued, where the server offers ranges and tells
	// versions of the content apart. Default 3; negative for never, as the original.
	Resumes     int
	ResumeDelay time.Duration // before the first of them; twice that before each later one; default 1 s

	// SHA1 is the digest that the content must have, 40 hexadecimal digits. Empty means that any will do.
	SHA1 string

	// FollowRedirects follows up to 10 redirects, never from https to http. By default a redirect is a failure like
	// any status other than 200. User info goes to the host and port of the URL alone, and no host learns which URL led
	// to it.
	FollowRedirects bool
}

// Download writes what a GET of the URL answers to dst. Only status 200 is success; the user info of the URL becomes
// basic authentication. The content is not decompressed, whatever its encoding. Where the connection breaks off in the
// middle, the rest is asked for by a range request that holds only for the same content (RFC 9110, If-Range). Every error is a
// [*DownloadError]; after one, dst may have received a part. A nil client is replaced by one without proxy; the redirect
// policy and the timeout of a client do not apply.
func Download(ctx context.Context, client *http.Client, rawURL string, dst io.Writer, opts DownloadOptions) error {
	u, err := parse(rawURL)
	if err != nil {
		return &DownloadError{Err: err}
	}
	opts.ConnectTimeout = cmp.Or(opts.ConnectTimeout, defaultConnect)
	opts.Inactivity = cmp.Or(opts.Inactivity, defaultInactivity)
	opts.MaxBytes = cmp.Or(opts.MaxBytes, 4<<30)
	opts.Resumes = cmp.Or(opts.Resumes, 3)
	opts.ResumeDelay = cmp.Or(opts.ResumeDelay, time.Second)
	client, idle := noRedirect(client, opts.ConnectTimeout)
	defer idle()
	if opts.FollowRedirects {
		client.CheckRedirect = follow
	}
	ctx, cancel := withMaxTime(ctx, opts.MaxTime)
	defer cancel()
	d := &download{client: client, url: u, opts: opts, dst: dst, hash: sha1.New(), size: -1}
	return d.run(ctx)
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
