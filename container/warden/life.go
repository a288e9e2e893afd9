package warden

import (
	"errors"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

// stop ends all processes of a container. It is finished also when the client is gone.
func (c *session) stop(g *guest, r *protocol.StopRequest) (*protocol.StopResponse, error) {
	if r.GetBackground() {
		c.s.task(func() {
			if err := g.stop(r); err != nil {
				c.s.log.Warn("warden.stop.failed", "handle", g.handle, "error", err)
			}
		})
		return &protocol.StopResponse{}, nil
	}
	return &protocol.StopResponse{}, g.stop(r)
}

// stop returns when every process is gone and every job has ended. A container that is stopped already, or about to be,
// needs none of that, unless the request says so or is to kill.
func (g *guest) stop(r *protocol.StopRequest) error {
	info, err := g.c.Info(g.s.ctx)
	if err != nil {
		return err
	}
	if info.State == container.StateStopped && !r.GetKill() && !r.GetWait() {
		return nil
	}
	if err := g.c.Stop(g.s.ctx, r.GetKill()); err != nil {
		return err
	}
	for _, j := range g.allJobs() {
		select {
		case <-j.done:
		case <-g.s.ctx.Done():
			return g.s.ctx.Err()
		}
	}
	return nil
}

// destroy removes a container. The first one who asks does it; for the others there is none any more.
func (s *Server) destroy(g *guest) error {
	if !s.beginRemoval(g) {
		return container.ErrNotFound
	}
	last, _ := g.snapshot(s.ctx) // what cannot be measured the last answer to Link lacks
	if last.info.State == container.StateActive {
		if err := g.c.Stop(s.ctx, false); err != nil {
			s.log.Info("warden.destroy.stop-failed", "handle", g.handle, "error", err)
		}
	}
	g.mu.Lock()
	g.obituary = last
	g.mu.Unlock()
	if err := g.c.Destroy(s.ctx); err != nil && !errors.Is(err, container.ErrNotFound) {
		s.endRemoval(g)
		return err
	}
	g.bury()
	s.dismiss(g)
	return nil
}

// endRemoval is what comes after a Destroy that failed: it can be tried again, and is where nobody refers to the container.
func (s *Server) endRemoval(g *guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.removing = false
	s.armFor(g, max(g.graceTime, minRetry))
}

// dismiss forgets a container that is destroyed. A connection can live for long: it must not keep what it referred to.
func (s *Server) dismiss(g *guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.guests, g.handle)
	for c := range s.sessions {
		delete(c.refers, g)
	}
}

func (s *Server) beginRemoval(g *guest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.removing {
		return false
	}
	g.removing = true
	g.disarm()
	return true
}
