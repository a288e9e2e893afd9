package transport

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/internal/httpserve"
)

// An HTTPSConfig tells how to serve requests over HTTPS.
type HTTPSConfig struct {
	Listener net.Listener  // Run closes it; required for Run
	TLS      *tls.Config   // with a certificate, see [ServerTLS]; required for Run
	User     *url.Userinfo // for basic authentication; nil: everybody is let in, as old agents do without user info in mbus
	Blobs    Blobs         // behind /blobs; nil: there is no such path
	AgentID  string        // for encryption
	Keys     *seal.Keys    // when set, all requests must be encrypted, and replies are

	MaxRequest  int64         // bytes of the longest request; default 64 MiB
	MaxInFlight int64         // bytes of all requests that are under way; default 256 MiB. Those beyond are refused with 503
	MaxBlob     int64         // bytes of the largest blob; default 16 GiB
	MaxTime     time.Duration // for one body to come or go; default 1 h. One that stands still is given up after 30 s

	Logger *slog.Logger // nil discards
}

// stall is how long a body may stand still.
const stall = 30 * time.Second

// HTTPS serves POST /agent, and GET and PUT /blobs/<id>, as bosh-agent does; only the content type of its replies is right.
type HTTPS struct {
	cfg   HTTPSConfig
	codec *codec
	log   *slog.Logger
	want  [sha256.Size]byte // digest of the Authorization header
	room  *budget
}

// NewHTTPS checks the configuration. It starts nothing.
func NewHTTPS(cfg HTTPSConfig) (*HTTPS, error) {
	if cfg.MaxRequest <= 0 {
		cfg.MaxRequest = 64 << 20
	}
	if cfg.MaxBlob <= 0 {
		cfg.MaxBlob = 16 << 30
	}
	if cfg.MaxTime <= 0 {
		cfg.MaxTime = time.Hour
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	codec, err := newCodec(cfg.AgentID, cfg.Keys, nil, cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("agent on HTTPS: %w", err)
	}
	h := &HTTPS{cfg: cfg, codec: codec, log: cfg.Logger, room: newBudget(cfg.MaxInFlight)}
	if cfg.User != nil {
		password, _ := cfg.User.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(cfg.User.Username() + ":" + password))
		h.want = sha256.Sum256([]byte("Basic " + credentials))
	}
	return h, nil
}

// Run serves until ctx ends; requests under way then have five seconds to end. It returns when all have ended: nil, or why it
// could not go on.
func (h *HTTPS) Run(ctx context.Context, handler Handler) error {
	if h.cfg.Listener == nil || h.cfg.TLS == nil {
		return errors.New("agent on HTTPS: a listener and TLS are required")
	}
	life, cut := outlast(ctx)
	defer cut()
	server := httpserve.New(h.Handler(life, handler), h.log)
	server.TLSConfig = h.cfg.TLS
	if err := httpserve.Run(ctx, server, h.cfg.Listener); err != nil {
		return fmt.Errorf("agent on HTTPS: %w", err)
	}
	return nil
}

// Handler is the HTTP side alone, for a server of one's own. The context is that of all actions.
func (h *HTTPS) Handler(ctx context.Context, handler Handler) http.Handler {
	agent := h.authenticated(func(w http.ResponseWriter, r *http.Request) { h.serve(ctx, handler, w, r) })
	blobs, none := h.authenticated(h.serveBlob), h.authenticated(http.NotFound)
	// Not http.ServeMux: it redirects from paths like //agent before anybody has asked for credentials.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, clean := r.URL.Path, path.Clean("/"+r.URL.Path)
		switch {
		case asked == "/agent":
			agent.ServeHTTP(w, r)
		case h.cfg.Blobs != nil && strings.HasPrefix(asked, "/blobs/"):
			blobs.ServeHTTP(w, r)
		case clean == "/agent", h.cfg.Blobs != nil && strings.HasPrefix(clean+"/", "/blobs/"):
			none.ServeHTTP(w, r) // another way to write a path that is there
		default:
			http.NotFound(w, r)
		}
	})
}

// authenticated lets those in who have the credentials. Whether they do takes the same time for all who have not.
func (h *HTTPS) authenticated(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if h.cfg.User != nil && subtle.ConstantTimeCompare(given[:], h.want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm=""`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next(w, r)
	})
}

// serve answers POST /agent.
func (h *HTTPS) serve(ctx context.Context, handler Handler, w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	held := share{of: h.room}
	defer held.giveBack()
	err := ErrBusy
	var data []byte
	if held.grow(min(max(r.ContentLength, 0), h.cfg.MaxRequest)) {
		data, err = io.ReadAll(&counted{Reader: h.body(w, r, h.cfg.MaxRequest), share: &held})
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, ErrBusy):
		h.log.Warn("agent.request.refused", "from", r.RemoteAddr, "error", err)
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	case errors.As(err, &tooLarge):
		h.log.Warn("agent.request.refused", "from", r.RemoteAddr, "error", err)
		http.Error(w, fmt.Sprintf("a request has %d bytes at most", h.cfg.MaxRequest), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		h.log.Warn("agent.request.unreadable", "from", r.RemoteAddr, "error", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	request, session, err := h.codec.open(data)
	if err != nil {
		h.log.Error("agent.request.unreadable", "from", r.RemoteAddr, "bytes", len(data), "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	began := time.Now()
	reply := handler(ctx, request)
	h.log.Debug("agent.request", "method", request.Method, "reply_to", request.ReplyTo, "took", time.Since(began), "failed", reply.Err != nil)
	answer, err := h.codec.seal(reply.Encode(0), reply, session, 0)
	if err != nil {
		h.log.Error("agent.reply.lost", "method", request.Method, "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h.answer(w, r, answer)
}

func (h *HTTPS) answer(w http.ResponseWriter, r *http.Request, data []byte) {
	w.Header().Set("Content-Type", "application/json")
	if _, err := h.writer(w).Write(data); err != nil {
		h.log.Warn("agent.reply.lost", "to", r.RemoteAddr, "error", err)
	}
}
