package standin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/deakit/deakit/internal/httpserve"
)

// A Server is what a node reaches by HTTP. All that it serves wants a user and a password, which are drawn.
type Server struct {
	base           *url.URL
	user, password string
	listener       net.Listener
}

// Listen opens a server at an address, HOST:PORT. The node reaches it as reach says, a URL; empty means at that address. Errors
// name the options --listen and --url. Serve closes it.
func Listen(address, reach string) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if reach == "" {
		reach = "http://" + listener.Addr().String()
	}
	base, err := url.Parse(reach)
	if err != nil || base.Host == "" {
		return nil, errors.Join(errors.New("--url must have the form http://host:port"), listener.Close())
	}
	return &Server{base: base, user: rand.Text(), password: rand.Text(), listener: listener}, nil
}

// Serve answers until ctx ends. A request and its answer may each take as long as timeout.
func (s *Server) Serve(ctx context.Context, handler http.Handler, timeout time.Duration) error {
	server := httpserve.New(s.guarded(handler), slog.New(slog.DiscardHandler))
	server.ReadTimeout, server.WriteTimeout = timeout, timeout
	return httpserve.Run(ctx, server, s.listener)
}

// URI is the URL of a path, with user and password.
func (s *Server) URI(parts ...string) string {
	u := s.base.JoinPath(parts...)
	u.User = url.UserPassword(s.user, s.password)
	return u.String()
}

// Base is the URL of all paths, without user and password.
func (s *Server) Base() string { return s.base.Redacted() }

func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if !Equal(user, s.user) || !Equal(password, s.password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="deakit"`)
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Equal compares what may be secret.
func Equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
