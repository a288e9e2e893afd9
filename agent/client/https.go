package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/messaging"
)

// An HTTPSConfig tells how to reach an agent over HTTPS.
type HTTPSConfig struct {
	URL string // https://user:password@host:port; a path is not used

	// CA is the certificate to trust, in PEM form. Empty means that the agent's certificate is not verified at all, as in the
	// public clients: agents of old have one that nobody signed. Set RequireCA where that must not happen.
	CA        string
	RequireCA bool

	Keys    *seal.Keys // when set, requests and replies are encrypted
	AgentID string     // for encryption

	MaxReply int64 // bytes of the longest reply; default 64 MiB

	// Timeout of one request; 0: as long as its context, for an agent may take its time to answer.
	Timeout time.Duration
}

// HTTPS sends requests over HTTPS, on connections that it keeps. Close ends those.
type HTTPS struct {
	cfg   HTTPSConfig
	url   *url.URL // of the agent, without user info
	user  *url.Userinfo
	http  *http.Client
	codec *codec
	turn  chan struct{} // with encryption messages are numbered, so one request at a time is under way: it has an element meanwhile
}

// NewHTTPS checks the configuration. It connects to nothing.
func NewHTTPS(cfg HTTPSConfig) (*HTTPS, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("agent client: the URL must have the form https://[user:password@]host:port")
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.CA == ""}
	switch {
	case cfg.CA != "":
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM([]byte(cfg.CA)) {
			return nil, errors.New("agent client: CA holds no certificate in PEM form")
		}
	case cfg.RequireCA:
		return nil, errors.New("agent client: a CA is required")
	}
	codec, err := newCodec(cfg.Keys, cfg.AgentID)
	if err != nil {
		return nil, err
	}
	if cfg.MaxReply <= 0 {
		cfg.MaxReply = 64 << 20
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	return &HTTPS{
		cfg: cfg, codec: codec, user: u.User, turn: make(chan struct{}, 1),
		url: &url.URL{Scheme: u.Scheme, Host: u.Host},
		http: &http.Client{
			Timeout: cfg.Timeout,
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: secure,
				TLSHandshakeTimeout: 30 * time.Second, IdleConnTimeout: time.Minute,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close ends the connections that are not in use.
func (h *HTTPS) Close() { h.http.CloseIdleConnections() }

// Do implements Transport. It fails with ErrAuthentication, a *StatusError, or because the agent could not be reached.
func (h *HTTPS) Do(ctx context.Context, request messaging.AgentRequest) (messaging.AgentReply, error) {
	if h.codec.keys != nil {
		select {
		case h.turn <- struct{}{}:
			defer func() { <-h.turn }()
		case <-ctx.Done():
			return messaging.AgentReply{}, fmt.Errorf("waiting for the request before: %w", context.Cause(ctx))
		}
	}
	body, err := h.codec.encode(request)
	if err != nil {
		return messaging.AgentReply{}, err
	}
	response, err := h.send(ctx, http.MethodPost, "/agent", bytes.NewReader(body), "application/json")
	if err != nil {
		return messaging.AgentReply{}, err
	}
	defer response.Body.Close()
	if err := success(response); err != nil {
		return messaging.AgentReply{}, err
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, h.cfg.MaxReply+1))
	switch {
	case err != nil:
		return messaging.AgentReply{}, fmt.Errorf("read reply: %w", err)
	case int64(len(data)) > h.cfg.MaxReply:
		return messaging.AgentReply{}, fmt.Errorf("reply has more than %d bytes", h.cfg.MaxReply)
	}
	return h.codec.decode(data)
}

// PutBlob stores a blob at the agent, where the methods of it find it by its id.
func (h *HTTPS) PutBlob(ctx context.Context, id string, content io.Reader) error {
	response, err := h.send(ctx, http.MethodPut, "/blobs/"+url.PathEscape(id), content, "application/octet-stream")
	if err != nil {
		return fmt.Errorf("agent: put blob %s: %w", id, err)
	}
	defer response.Body.Close()
	if err := success(response); err != nil {
		return fmt.Errorf("agent: put blob %s: %w", id, err)
	}
	return nil
}

// GetBlob opens a blob of the agent; the caller closes it. One that is not there is a *StatusError of 404.
func (h *HTTPS) GetBlob(ctx context.Context, id string) (io.ReadCloser, error) {
	response, err := h.send(ctx, http.MethodGet, "/blobs/"+url.PathEscape(id), nil, "")
	if err != nil {
		return nil, fmt.Errorf("agent: get blob %s: %w", id, err)
	}
	if err := success(response); err != nil {
		response.Body.Close()
		return nil, fmt.Errorf("agent: get blob %s: %w", id, err)
	}
	return response.Body, nil
}

func (h *HTTPS) send(ctx context.Context, method, path string, body io.Reader, kind string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, h.url.String()+path, body)
	if err != nil {
		return nil, err
	}
	if h.user != nil {
		password, _ := h.user.Password()
		request.SetBasicAuth(h.user.Username(), password)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	return h.http.Do(request) // whose errors have the URL, which is without user info
}

// success tells why a status is none.
func success(response *http.Response) error {
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized:
		return ErrAuthentication
	case code == http.StatusOK, code == http.StatusCreated:
		return nil
	default:
		return &StatusError{code}
	}
}
