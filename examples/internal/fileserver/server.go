// Package fileserver serves files by signed URL, with a line in the log about each request, and figures.
package fileserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/internal/httpserve"
)

// answerTime bounds how long a client may take to accept a listing or a refusal. Where there is more to send, or later, as in
// a tail, the directory server bounds each write itself.
const answerTime = 5 * time.Minute

// A Server stands around a directory server.
type Server struct {
	files  *directory.Server
	access *access
	log    *slog.Logger
}

// New takes possession of files.
func New(files *directory.Server, log *slog.Logger) *Server {
	return &Server{files: files, log: log, access: &access{next: files, log: log, counts: newCounts()}}
}

// Run serves l until ctx ends: tails end at once then, other requests within five seconds. It closes l.
//
// It bounds the reading of a request, which does not end tails: net/http takes that time-out back once there is nothing more to
// read.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	server := httpserve.New(s.access, s.log)
	server.WriteTimeout, server.ConnContext = answerTime, directory.ConnContext
	server.RegisterOnShutdown(func() {
		s.access.closing.Store(true)
		s.files.Close() // tails do not end by themselves
	})
	err := httpserve.Run(ctx, server, l)
	s.files.Close()
	if err != nil {
		return fmt.Errorf("serve files: %w", err)
	}
	return nil
}

// Metrics are the figures of /metrics. Nil has none.
func (s *Server) Metrics() []component.Metric {
	if s == nil {
		return nil
	}
	return s.access.counts.metrics()
}
