package warden

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
)

// A Server puts a container back end behind Warden's protocol.
type Server struct {
	cfg     Config
	backend container.Backend
	log     *slog.Logger
	tags    *tagLog
	handles handleCounter

	ctx      context.Context // of verbs, jobs and tasks; it ends after Run's
	draining context.Context // ends with Run's, or with the listener

	tasks sync.WaitGroup // work that comes to an end by itself
	jobs  sync.WaitGroup // those who wait for jobs

	mu       sync.Mutex
	sessions map[*session]bool
	guests   map[string]*guest // nil while one of that handle is being made
	lastJob  uint32
	ending   bool // no more tasks are begun
}

// NewServer returns a server that is not running. The error is container.ErrInvalid for an option that makes no sense, or
// one of the file system.
func NewServer(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("new Warden server: %w", err)
	}
	return &Server{
		cfg: cfg, backend: cfg.Backend, log: cfg.Logger, tags: newTagLog(cfg.SyslogSocket, cfg.Logger),
		sessions: map[*session]bool{}, guests: map[string]*guest{},
	}, nil
}

// Run serves the connections of l until ctx ends, and closes l. It is called once.
//
// It begins with the containers that the back end has. A container is destroyed when it had no connection that refers to
// it for its grace time. A connection refers to the containers that exist when it is made, and to those that its requests
// name: so any open connection keeps all containers that it found. Those that Run finds have a grace time from then on.
//
// When ctx ends, connections are closed, at once where they are idle or wait for a job, else after the answer; containers
// and their processes live on. Run returns when all that it started has ended: nil when ctx ended, otherwise the error of
// the listener or of the back end.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	defer l.Close()
	defer s.tags.close()
	var giveUp context.CancelFunc
	s.ctx, giveUp = context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	var drain context.CancelFunc
	s.draining, drain = context.WithCancel(ctx)
	defer drain()
	err := s.adopt(ctx)
	if err == nil {
		err = s.serve(l, drain, giveUp)
	}
	s.end()
	s.tasks.Wait()
	giveUp()
	s.jobs.Wait()
	if err != nil {
		return fmt.Errorf("serve Warden's protocol: %w", err)
	}
	return nil
}

// serve accepts connections until draining begins, and returns when they are closed.
func (s *Server) serve(l net.Listener, drain, giveUp context.CancelFunc) error {
	stop := context.AfterFunc(s.draining, func() { _ = l.Close() }) // it has another owner: its error is that of Accept
	defer stop()
	var open sync.WaitGroup
	err := s.accept(s.draining, l, &open)
	drain()
	late := time.AfterFunc(s.cfg.DrainTime, func() {
		giveUp()
		s.closeSessions()
	})
	open.Wait()
	late.Stop()
	return err
}

// accept starts a session for each connection. It returns nil when ctx has ended.
func (s *Server) accept(ctx context.Context, l net.Listener, open *sync.WaitGroup) error {
	const pause = 50 * time.Millisecond
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			c := s.enter(conn)
			open.Go(func() { c.run(ctx) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // too many open files, for example: it passes
			s.log.Warn("warden.accept.failed", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
		}
	}
}

// task runs f in a goroutine that Run waits for, or not at all when it is too late for that.
func (s *Server) task(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startTask(f)
}

// startTask is task for those who hold s.mu.
func (s *Server) startTask(f func()) {
	if !s.ending {
		s.tasks.Go(f)
	}
}

// end begins no more tasks, and stops the timers of grace times.
func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for _, g := range s.guests {
		if g != nil {
			g.disarm()
		}
	}
}
