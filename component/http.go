package component

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"time"
)

// pageTime is how long a page may take to be built.
const pageTime = 10 * time.Second

func (c *Component) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", c.authenticated(healthz))
	mux.Handle("GET /varz", c.authenticated(c.page("application/json", c.varz)))
	mux.Handle("GET /metrics", c.authenticated(c.page("text/plain; version=0.0.4; charset=utf-8", c.metrics)))
	return mux
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json") // it is not, but collectors have always been told so
	_, _ = w.Write([]byte("ok\n"))                     // a peer that has gone needs no answer
}

// authenticated lets through who knows the user and the password.
func (c *Component) authenticated(next http.HandlerFunc) http.Handler {
	want := digest(c.cfg.User, c.cfg.Password)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if have := digest(user, password); subtle.ConstantTimeCompare(have[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="status", charset="UTF-8"`)
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		next(w, r)
	})
}

// digest makes values of one length of credentials, so that comparing them tells nothing about the length either. A user
// has no ":".
func digest(user, password string) [sha256.Size]byte {
	return sha256.Sum256([]byte(user + ":" + password))
}

// page serves what build returns, built at most once a second.
func (c *Component) page(contentType string, build func(context.Context) ([]byte, error)) http.HandlerFunc {
	kept := &kept{build: build, turn: make(chan struct{}, 1)}
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), pageTime)
		defer cancel()
		body, err := kept.get(ctx)
		if err != nil {
			c.log.Error("component.page.failed", "path", r.URL.Path, "error", err)
			http.Error(w, "Internal Server Error: the log tells why", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(body) // a peer that has gone needs no answer
	}
}

// kept is a page that is built by one request at a time and holds for a second.
type kept struct {
	build func(context.Context) ([]byte, error)
	turn  chan struct{} // holds one element while somebody has the turn; who has it owns the fields below
	body  []byte
	at    time.Time
}

func (k *kept) get(ctx context.Context) ([]byte, error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if k.body != nil && time.Since(k.at) < time.Second {
		return k.body, nil
	}
	body, err := k.build(ctx)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // what was built may be half of it
	}
	if err != nil {
		return nil, err
	}
	k.body, k.at = body, time.Now()
	return body, nil
}
