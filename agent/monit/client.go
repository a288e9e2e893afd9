package monit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// An Action is what monit is told to do with a service.
type Action string

// The actions.
const (
	Start     Action = "start"
	Stop      Action = "stop"
	Restart   Action = "restart"
	Monitor   Action = "monitor"
	Unmonitor Action = "unmonitor"
)

// maxStatus bounds the status document, in bytes: some ten thousand services.
const maxStatus = 16 << 20

// ClientConfig says how monit is reached.
type ClientConfig struct {
	URL            string // default http://127.0.0.1:2822; without user info
	User, Password string // as [ReadUser] finds them

	// How often something is tried, and the pause after a failure (Go agent): ShortTries for status and start, and for other
	// failures of stop and unmonitor, LongTries for stop and unmonitor while monit says that it is busy. Defaults 20, 300, 1 s.
	ShortTries, LongTries int
	Pause                 time.Duration

	Timeout   time.Duration     // of one request; default 5 s
	Transport http.RoundTripper // nil: straight to the address, without a proxy
	Logger    *slog.Logger      // nil discards
}

// A Client asks a monit. It may be used from several goroutines at once.
type Client struct {
	cfg  ClientConfig
	base *url.URL
	http *http.Client
	log  *slog.Logger

	mu    sync.Mutex
	token string // empty until monit has asked for one
}

// A StatusError is an answer that monit gives to what it does not do.
type StatusError struct {
	Subject string // "stop nats"
	Code    int    // HTTP status
}

func (e *StatusError) Error() string {
	hint := ""
	switch e.Code {
	case http.StatusUnauthorized:
		hint = "; user and password must be those of its configuration"
	case http.StatusForbidden:
		hint = "; it must be allowed by its configuration, and not read-only"
	case http.StatusNotFound:
		hint = "; it may have to be reloaded to know the service"
	}
	return fmt.Sprintf("monit: %s: answer %d (%s)%s", e.Subject, e.Code, http.StatusText(e.Code), hint)
}

// NewClient checks the configuration. It connects to nothing.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.URL == "" {
		cfg.URL = "http://127.0.0.1:2822"
	}
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || base.User != nil {
		return nil, errors.New("monit: URL must be of the form http://host:port, without user and password") // it may show one
	}
	positive := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	positive(&cfg.ShortTries, 20)
	positive(&cfg.LongTries, 300)
	if cfg.Pause <= 0 {
		cfg.Pause = time.Second
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{DisableKeepAlives: true} // monit closes each connection anyway
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg, base: base, log: cfg.Logger, http: &http.Client{
		Transport: cfg.Transport, Timeout: cfg.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Status asks how all services are. It is tried again while monit does not answer.
func (c *Client) Status(ctx context.Context) (status Status, err error) {
	err = c.retry(ctx, "status", c.cfg.ShortTries, func() error {
		status, err = c.status(ctx)
		return err
	})
	return status, err
}

func (c *Client) status(ctx context.Context) (Status, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath("_status2").String()+"?format=xml", nil)
	if err != nil {
		return Status{}, err
	}
	resp, err := c.do(req)
	if err != nil {
		return Status{}, fmt.Errorf("monit: status: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Status{}, &StatusError{"status", resp.StatusCode}
	}
	return ParseStatus(io.LimitReader(resp.Body, maxStatus))
}

// Do tells monit what to do with a service. It returns when monit has taken the order, not when it is done. While monit says that it is
// busy, as it does while an action is pending, it is told again.
func (c *Client) Do(ctx context.Context, action Action, service string) error {
	subject := string(action) + " " + service
	long := c.cfg.ShortTries
	if action == Stop || action == Unmonitor {
		long = c.cfg.LongTries
	}
	return c.retry(ctx, subject, long, func() error { return c.order(ctx, subject, action, service) })
}

// order tells once. A monit that refuses it for want of a security token is told again with one: any will do, if the cookie and the
// form have the same. Older versions know of none, and get none.
func (c *Client) order(ctx context.Context, subject string, action Action, service string) error {
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	code, err := c.post(ctx, action, service, token)
	if err == nil && code == http.StatusForbidden && token == "" {
		token = rand.Text()
		if code, err = c.post(ctx, action, service, token); err == nil && code < 400 {
			c.mu.Lock()
			c.token = token
			c.mu.Unlock()
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("monit: %s: %w", subject, err)
	case code == http.StatusOK, code == http.StatusFound && token != "":
		return nil
	}
	return &StatusError{subject, code}
}

func (c *Client) post(ctx context.Context, action Action, service, token string) (int, error) {
	form := "action=" + url.QueryEscape(string(action))
	if token != "" {
		form += "&securitytoken=" + url.QueryEscape(token)
	}
	target := *c.base
	target.Path, target.RawPath = "/"+service, "/"+url.PathEscape(service)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(form))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if token != "" {
		req.AddCookie(&http.Cookie{Name: "securitytoken", Value: token})
	}
	resp, err := c.do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func (c *Client) do(req *http.Request) (*http.Response, error) {
	if c.cfg.User != "" {
		req.SetBasicAuth(c.cfg.User, c.cfg.Password)
	}
	resp, err := c.http.Do(req)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return resp, wrapped.Err
	}
	return resp, err
}

// retry tries until it works, ctx ends, monit gives an answer that will not change, or tries are used up: long of them while monit is
// busy, ShortTries of other failures.
func (c *Client) retry(ctx context.Context, subject string, long int, try func() error) error {
	busy, other := 0, 0
	for {
		err := try()
		switch answer := (*StatusError)(nil); {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("monit: %s: %w", subject, context.Cause(ctx))
		case errors.As(err, &answer) && answer.Code >= 400 && answer.Code < 500:
			return err
		case errors.As(err, &answer) && answer.Code == http.StatusServiceUnavailable, isTimeout(err):
			busy++
		default:
			other++
		}
		if busy >= long || other >= c.cfg.ShortTries {
			return err
		}
		c.log.Debug("monit.retry", "subject", subject, "error", err)
		if err := sleep(ctx, c.cfg.Pause); err != nil {
			return fmt.Errorf("monit: %s: %w", subject, err)
		}
	}
}

// isTimeout tells of an answer that took too long: monit is busy.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// sleep waits, and fails when ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
