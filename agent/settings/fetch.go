package settings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Retry says how often a request is tried and how.
type Retry struct {
	Tries  int           // default 10
	Delay  time.Duration // between them; default 1 s; negative for none
	Logger *slog.Logger  // is told of the first try that fails; nil discards
	Client *http.Client  // default one without proxy, with limits of 30 s for connecting and 5 min for all
}

// A StatusError is an answer that is no success. The URL is without user info.
type StatusError struct {
	Method, URL string
	Status      int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: HTTP status %d", e.Method, e.URL, e.Status)
}

// request returns the body of an answer with a status of 2xx. Other answers and failures are tried again, but not those
// with the status final.
func (r Retry) request(ctx context.Context, method, rawURL string, headers map[string]string, final int) ([]byte, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return nil, errors.New("invalid URL: give http://host:port/path") // the cause may quote a password
	}
	client := r.Client
	if client == nil {
		dialer := &net.Dialer{Timeout: 30 * time.Second}
		transport := &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 30 * time.Second}
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport, Timeout: 5 * time.Minute}
	}
	delay := cmp.Or(r.Delay, time.Second)
	for try := 1; ; try++ {
		data, err := once(ctx, client, method, u, headers)
		status := (*StatusError)(nil)
		if err == nil || try >= max(1, cmp.Or(r.Tries, 10)) || ctx.Err() != nil ||
			errors.As(err, &status) && status.Status == final {
			return data, err
		}
		if try == 1 && r.Logger != nil {
			r.Logger.Warn("settings.waiting", "source", u.Host, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w, after: %w", context.Cause(ctx), err)
		case <-time.After(delay):
		}
	}
}

func once(ctx context.Context, client *http.Client, method string, u *url.URL, headers map[string]string) ([]byte, error) {
	bare := *u
	bare.User = nil
	req, err := http.NewRequestWithContext(ctx, method, bare.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, &StatusError{method, bare.String(), resp.StatusCode}
	}
	return readAll(resp.Body, bare.String())
}
