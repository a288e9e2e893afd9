package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// errURL stands for every parse error: the texts of package url quote what may be a password.
var errURL = errors.New("invalid URL")

// Redact returns the URL fit for logs: without user info, fragment and the values of a query, which may be a signature.
func Redact(raw string) string {
	u, err := parse(raw)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	safe := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if u.RawQuery != "" {
		return safe.String() + "?..."
	}
	return safe.String()
}

func parse(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errURL
	}
	return u, nil
}

// newRequest makes a request whose URL has no user info: that becomes basic authentication.
func newRequest(ctx context.Context, method string, u *url.URL) (*http.Request, error) {
	bare := *u
	bare.User, bare.Fragment, bare.RawFragment = nil, "", ""
	req, err := http.NewRequestWithContext(ctx, method, bare.String(), nil)
	if err != nil {
		return nil, errURL
	}
	if u.User != nil {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	return req, nil
}

// errLocation stands for what the client says of a redirect that it cannot read, which quotes all of it.
var errLocation = errors.New("redirect to an invalid URL")

// cause takes from an error of http.Client what it says about URLs, and puts in the reason for which ctx ended.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	wrapped := (*url.Error)(nil)
	switch {
	case !errors.As(err, &wrapped):
		return err
	case strings.Contains(wrapped.Err.Error(), "Location header"):
		return errLocation
	case wrapped.Timeout(): // of a dialer, which may be a moment ahead of the watch
		return fmt.Errorf("%w: %w", ErrTimeout, wrapped.Err)
	}
	return wrapped.Err
}

// noRedirect makes a client that returns redirects as they are. A nil client is replaced by one of its own, which idle
// closes; idle does nothing to the caller's.
//
// The client dials apart from the request, on which the watch has no influence: so a dialer of ours has its own limit.
func noRedirect(client *http.Client, connect time.Duration) (own *http.Client, idle func()) {
	if client == nil {
		dialer := &net.Dialer{Timeout: connect}
		transport := &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: connect, ForceAttemptHTTP2: true}
		return &http.Client{Transport: transport, CheckRedirect: stay}, transport.CloseIdleConnections
	}
	c := *client
	c.CheckRedirect = stay
	c.Timeout = 0 // the limits of a transfer are those on connecting and on silence
	return &c, func() {}
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
