package heartbeat

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/deakit/deakit/internal/tlsfiles"
	"github.com/deakit/deakit/messaging"
)

// maxResponse bounds what is logged of a response, in bytes.
const maxResponse = 1 << 10

// PosterConfig says where a [Poster] sends heartbeats to.
type PosterConfig struct {
	// URL of the health manager's listener, "https://hm9000.example.com:5335" for example; required. User info in it
	// becomes basic authentication. "http://" is for a health manager on the same machine: it takes no files.
	URL string

	// PEM files, all required with "https://": our key and certificate, by which the health manager knows us, and the
	// authorities whose certificates the health manager may have; the system's do not count. They are looked at before
	// each heartbeat and read again when they have changed.
	KeyFile, CertFile, CAFile string

	// Timeout is how long connecting, sending, and receiving may take, each by itself; default 5 s.
	Timeout time.Duration

	Logger *slog.Logger // nil discards
}

// A Poster sends heartbeats by HTTP, as DEAs did from 2016 on (dea_ng). Nothing is sent twice and nothing is queued: a
// heartbeat that waits for its turn gives way to a newer one, because that says more.
type Poster struct {
	cfg     PosterConfig
	log     *slog.Logger
	target  url.URL          // without user info
	user    *url.Userinfo    // nil: no authentication
	files   *tlsfiles.Source // nil: no TLS
	waiting chan struct{}    // has an element when there is something to send

	mu   sync.Mutex
	next *messaging.Heartbeat

	// What only Run touches.
	client   *http.Client
	material *tlsfiles.Material // that client was made with
}

// NewPoster checks the configuration and reads the files. It fails with an fs.ErrNotExist, among others, when files are
// missing, and names them. It starts nothing.
func NewPoster(cfg PosterConfig) (*Poster, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Poster{cfg: cfg, waiting: make(chan struct{}, 1)}
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		// The text of a parse error quotes the URL, which may hold a password.
		return nil, errors.New("heartbeat: URL must be of the form https://host:port")
	}
	p.target, p.user = url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}, u.User
	p.target = *p.target.JoinPath("dea", "heartbeat")
	p.log = cfg.Logger.With("destination", p.target.String())

	named := cfg.KeyFile != "" || cfg.CertFile != "" || cfg.CAFile != ""
	switch {
	case u.Scheme == "http" && named:
		return nil, errors.New("heartbeat: URL begins with http://, which uses no KeyFile, CertFile and CAFile: " +
			"write https://, or leave them out")
	case u.Scheme == "http":
		return p, nil
	case cfg.CAFile == "":
		return nil, errors.New("heartbeat: Invalid HM9000 Certs: a CA file must be named")
	}
	p.files, err = tlsfiles.Open(tlsfiles.Files{Key: cfg.KeyFile, Cert: cfg.CertFile, CA: cfg.CAFile}, p.log)
	if err != nil {
		return nil, fmt.Errorf("heartbeat: Invalid HM9000 Certs: %w", err)
	}
	return p, nil
}

// Send has a heartbeat sent by Run as soon as the one before is through. It never waits. The caller must not change the
// heartbeat afterwards.
func (p *Poster) Send(beat messaging.Heartbeat) {
	p.mu.Lock()
	p.next = &beat
	p.mu.Unlock()
	select {
	case p.waiting <- struct{}{}:
	default: // Run has been told already
	}
}

// Run sends until ctx ends. What is under way then, and the heartbeat that waits, still go out, within four times Timeout in
// all: the last one tells that the instances are gone. It returns nil when nothing of it is left. Call it once.
//
// What cannot be sent is logged as hm9000.heartbeat.failed: a warning with http_status and the beginning of the response
// when the health manager refused it, an error when it could not be reached.
func (p *Poster) Run(ctx context.Context) error {
	defer p.closeIdle()
	outlive := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		select {
		case <-p.waiting:
			p.post(outlive)
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(outlive, p.cfg.Timeout)
	defer cancel()
	p.post(last)
	return nil
}

// post sends the heartbeat that waits, if there is one, and logs what became of it.
func (p *Poster) post(ctx context.Context) {
	p.mu.Lock()
	beat := p.next
	p.next = nil
	p.mu.Unlock()
	if beat == nil {
		return
	}
	status, response, err := p.exchange(ctx, *beat)
	switch {
	case err != nil:
		p.log.Error("hm9000.heartbeat.failed", "error", err)
	case status != http.StatusAccepted:
		p.log.Warn("hm9000.heartbeat.failed", "http_status", status, "http_response", response)
	default:
		p.log.Debug("hm9000.heartbeat.accepted")
	}
}

// exchange sends one heartbeat and returns the status and the beginning of the response.
func (p *Poster) exchange(ctx context.Context, beat messaging.Heartbeat) (int, string, error) {
	data, err := messaging.DEAHeartbeat.Encode(beat)
	if err != nil {
		return 0, "", err
	}
	ctx, stop := limitSteps(ctx, p.cfg.Timeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target.String(), bytes.NewReader(data))
	if err != nil {
		return 0, "", errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	if p.user != nil {
		password, _ := p.user.Password()
		req.SetBasicAuth(p.user.Username(), password)
	}
	resp, err := p.current().Do(req)
	if err != nil {
		return 0, "", reason(ctx, err)
	}
	defer resp.Body.Close()
	response, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err != nil {
		return 0, "", fmt.Errorf("read the response: %w", reason(ctx, err))
	}
	// A little more is read, so that the connection can be kept; what it says, or that it breaks, is no matter.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	return resp.StatusCode, string(response), nil
}

// current returns the client for the files as they are now.
func (p *Poster) current() *http.Client {
	var material *tlsfiles.Material
	if p.files != nil {
		material = p.files.Current()
	}
	if p.client != nil && material == p.material {
		return p.client
	}
	p.closeIdle()
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: p.cfg.Timeout}).DialContext,
		TLSHandshakeTimeout: p.cfg.Timeout,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     time.Minute, // some heartbeats
	}
	if material != nil {
		transport.TLSClientConfig = &tls.Config{
			MinVersion: tls.VersionTLS12,
			RootCAs:    material.CA,
			// Unlike Certificates, it is sent whatever authorities the server names: the server can then say what is wrong.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &material.Certificate, nil
			},
		}
	}
	p.material = material
	p.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p.client
}

func (p *Poster) closeIdle() {
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
}
