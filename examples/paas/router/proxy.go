package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// errorHeader tells clients and front ends that the router itself made an answer (gorouter).
const errorHeader = "X-Cf-Routererror"

// errUnknownRoute: nobody has registered for the host.
var errUnknownRoute = errors.New("no such route")

func (r *Router) newProxy() (*http.Transport, *httputil.ReverseProxy) {
	base := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: r.cfg.DialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConns:           1000,
		MaxIdleConnsPerHost:    100,
		IdleConnTimeout:        r.cfg.IdleTimeout,
		ResponseHeaderTimeout:  r.cfg.ResponseTimeout,
		MaxResponseHeaderBytes: 1 << 20,
		DisableCompression:     true, // bodies pass as they are
	}
	return base, &httputil.ReverseProxy{
		Rewrite:        r.rewrite,
		Transport:      &transport{table: r.table, base: base, attempts: r.cfg.Attempts, log: r.log},
		FlushInterval:  -1,
		BufferPool:     &buffers{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
		ModifyResponse: stick,
		ErrorHandler:   r.fail,
		ErrorLog:       slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
}

// ServeHTTP routes one request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !r.enter() {
		refuse(w, http.StatusServiceUnavailable, "", "The router is ending.")
		return
	}
	defer r.serving.Done()
	host := hostOf(req.Host)
	switch {
	case host == "":
		refuse(w, http.StatusBadRequest, "empty_host", "Request had empty Host header")
		return
	case req.Method == http.MethodConnect:
		refuse(w, http.StatusMethodNotAllowed, "", "CONNECT is not supported.")
		return
	}
	trip := &trip{host: host, instance: wantedInstance(req)}
	r.proxy.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), tripKey{}, trip)))
}

// enter counts a request, unless the router has ended.
func (r *Router) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.serving.Add(1)
	return true
}

// trip is what one request carries on its way through the proxy.
type trip struct {
	host     string
	instance string // wanted, for a sticky session
	to       target // reached
}

type tripKey struct{}

func tripOf(ctx context.Context) *trip {
	t, _ := ctx.Value(tripKey{}).(*trip)
	return t
}

func (r *Router) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme = "http"
	p.Out.URL.Host = p.In.Host // replaced when an endpoint is chosen; the Host header stays
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	if !r.cfg.TrustForwarded {
		p.SetXForwarded()
		return
	}
	p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
	p.SetXForwarded()
	if proto := p.In.Header.Get("X-Forwarded-Proto"); proto != "" {
		p.Out.Header.Set("X-Forwarded-Proto", proto)
	}
}

func (r *Router) fail(w http.ResponseWriter, req *http.Request, err error) {
	if errors.Is(err, errUnknownRoute) {
		refuse(w, http.StatusNotFound, "unknown_route",
			fmt.Sprintf("Requested route ('%s') does not exist.", tripOf(req.Context()).host))
		return
	}
	r.log.Warn("router.endpoint.failed", "host", req.Host, "address", tripOf(req.Context()).to.addr, "error", err)
	refuse(w, http.StatusBadGateway, "endpoint_failure", "Registered endpoint failed to handle the request.")
}

func refuse(w http.ResponseWriter, status int, kind, text string) {
	if kind != "" {
		w.Header().Set(errorHeader, kind)
	}
	http.Error(w, fmt.Sprintf("%d %s: %s", status, http.StatusText(status), text), status)
}

// transport sends a request to an endpoint of its host, and to another one when that fails harmlessly.
type transport struct {
	table    *table
	base     http.RoundTripper
	attempts int
	log      *slog.Logger
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	trip := tripOf(req.Context())
	var body *keptBody
	if req.Body != nil {
		// The base transport closes a body also when it could not connect; the proxy closes the real one.
		body = &keptBody{Reader: req.Body}
	}
	var tried []string
	var failure error
	broken := false
	for range t.attempts {
		to, known, ok := t.table.pick(trip.host, trip.instance, tried, time.Now())
		if !ok {
			if !known && failure == nil {
				failure = errUnknownRoute
			}
			return nil, failure
		}
		trip.to = to
		response, err := t.send(req, body, to.addr)
		if err == nil {
			return response, nil
		}
		failure = err
		tried = append(tried, to.addr)
		switch {
		case req.Context().Err() != nil:
			return nil, err
		case isDial(err):
			t.table.failed(trip.host, to.addr, time.Now())
			if body != nil && body.used.Load() {
				return nil, err
			}
		case !broken && body == nil && isSafe(req.Method) && isBroken(err):
			broken = true
		default:
			return nil, err
		}
		t.log.Info("router.endpoint.retry", "host", trip.host, "address", to.addr, "error", err)
	}
	return nil, failure
}

func (t *transport) send(req *http.Request, body *keptBody, addr string) (*http.Response, error) {
	out := req.WithContext(req.Context())
	url := *req.URL
	url.Host = addr
	out.URL = &url
	if body != nil {
		out.Body = body
	}
	return t.base.RoundTrip(out)
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// isBroken tells whether the connection ended where an answer should have begun.
func isBroken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// keptBody is a body that stays open and knows whether any of it was asked for.
type keptBody struct {
	io.Reader
	used atomic.Bool
}

func (b *keptBody) Read(p []byte) (int, error) {
	b.used.Store(true)
	return b.Reader.Read(p)
}

func (b *keptBody) Close() error { return nil }

// buffers implements httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte  { return b.pool.Get().(*[32 << 10]byte)[:] }
func (b *buffers) Put(p []byte) { b.pool.Put((*[32 << 10]byte)(p)) }
