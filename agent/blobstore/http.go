package blobstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"
)

// A StatusError is an answer that a store did not expect. Its text is that of the original (blobstore_client).
type StatusError struct {
	Op     string // "fetch", "create", "delete" or "find"
	Status int
	Body   string // the beginning, printable
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("Could not %s object, %d/%s", e.Op, e.Status, e.Body)
}

// Unwrap makes an answer that there is no such object an [ErrNotFound].
func (e *StatusError) Unwrap() error {
	if e.Status == http.StatusNotFound {
		return ErrNotFound
	}
	return nil
}

// HTTPOptions are the options of [NewHTTPClient].
type HTTPOptions struct {
	CA       string // certificates in PEM form to trust in place of those of the system; empty for those
	NoVerify bool   // take any certificate (ssl_no_verify). The peer may then be anybody.
}

// NewHTTPClient returns a client for stores: without cookies, with limits on connecting and on waiting for an answer. It
// follows redirects, but never from https to http, and tells no host which URL led to it, which may be signed.
func NewHTTPClient(opts HTTPOptions) (*http.Client, error) {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   30 * time.Second,
		ResponseHeaderTimeout: 5 * time.Minute, // of a server that stores all before it answers
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: opts.NoVerify},
		DisableCompression:    true, // which would unpack what a server declares to be gzip-encoded
	}
	if opts.CA != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(opts.CA)) {
			return nil, errors.New("blobstore: the CA holds no certificate in PEM form")
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: transport, CheckRedirect: redirect}, nil
}

func redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	if req.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https" {
		return errors.New("redirect from https to another scheme")
	}
	req.Header.Del("Referer")
	return nil
}

// A call is one request of a store.
type call struct {
	op     string // as in StatusError
	method string
	url    string
	header http.Header
	sign   func(*http.Request) // nil for a request that needs none
	body   io.Reader           // nil for none
	size   int64               // of the body
	want   []int               // statuses that are success; nil for all of 2xx
	dst    io.Writer           // what the body of the answer goes to; nil to forget it
}

// do performs a call. Its errors hold no URL, which may hold a password or a signature.
func do(ctx context.Context, client *http.Client, c call) error {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	ctx, moving, stop := watched(ctx)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, nil)
	if err != nil {
		return fmt.Errorf("%s object: invalid URL", c.op) // the cause quotes it
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	if c.body != nil {
		up := &upload{r: moving.reader(c.body)}
		defer up.detach()
		req.Body, req.ContentLength = up, c.size
		if c.size == 0 {
			req.Body = http.NoBody
		}
	}
	if c.sign != nil {
		c.sign(req)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s object: %w", c.op, bare(ctx, err))
	}
	defer resp.Body.Close()
	if !c.succeeded(resp.StatusCode) {
		return &StatusError{c.op, resp.StatusCode, excerpt(resp.Body)}
	}
	if c.dst == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can serve again
		return nil
	}
	if _, err := io.Copy(c.dst, moving.reader(resp.Body)); err != nil {
		return fmt.Errorf("%s object: %w", c.op, bare(ctx, err))
	}
	return nil
}

func (c call) succeeded(status int) bool {
	if c.want == nil {
		return status/100 == 2
	}
	for _, w := range c.want {
		if w == status {
			return true
		}
	}
	return false
}

// bare takes the URL from an error of http.Client, and says why the context ended if it did.
func bare(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		if strings.Contains(wrapped.Err.Error(), "Location header") {
			return errors.New("redirect to an invalid URL")
		}
		return wrapped.Err
	}
	return err
}

func excerpt(r io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(r, 200)) // what cannot be read is not shown
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == ' ' {
			return r
		}
		return -1
	}, strings.ToValidUTF8(string(text), ""))
}

// An upload is a request body that its source can be taken from. A transport may read on after the answer, and the
// source is used again for the next try.
type upload struct {
	mu sync.Mutex
	r  io.Reader
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.r == nil {
		return 0, errors.New("upload has ended")
	}
	return u.r.Read(p)
}

// Close does nothing: the source belongs to the caller.
func (u *upload) Close() error { return nil }

func (u *upload) detach() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.r = nil
}

// rewind returns the size of r and puts it at its start.
func rewind(r io.ReadSeeker) (int64, error) {
	size, err := r.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	return size, err
}

// parseEndpoint returns the URL of a store without user info, which is returned apart.
func parseEndpoint(endpoint string) (*url.URL, *url.Userinfo, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, nil, errors.New("blobstore: the endpoint must be a URL that begins with http:// or https://")
	}
	user := u.User
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, user, nil
}
