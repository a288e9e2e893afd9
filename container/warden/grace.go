package warden

import (
	"net"
	"time"
)

// minRetry is how long to wait, at least, before another try to destroy what nobody refers to.
const minRetry = time.Second

// Which connection refers to which container, and what happens when none does. All of it is guarded by Server.mu.

// enter makes a session of a connection. It refers to all containers.
func (s *Server) enter(conn net.Conn) *session {
	c := &session{s: s, conn: conn, refers: map[*guest]bool{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[c] = true
	for _, g := range s.guests {
		if g != nil {
			c.refer(g)
		}
	}
	return c
}

// leave ends the references of a session.
func (s *Server) leave(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
	for g := range c.refers {
		g.referrers--
		s.arm(g)
	}
	c.refers = nil
}

func (s *Server) closeSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		_ = c.conn.Close() // its session notices
	}
}

// refer makes a session refer to a container.
func (c *session) refer(g *guest) {
	if c.refers == nil || c.refers[g] {
		return
	}
	c.refers[g] = true
	g.referrers++
	g.disarm()
}

// arm starts the grace time of a container to which nobody refers. That connections end because the server does starts
// none.
func (s *Server) arm(g *guest) { s.armFor(g, g.graceTime) }

func (s *Server) armFor(g *guest, wait time.Duration) {
	if g.referrers > 0 || g.graceTime < 0 || g.removing || s.ending || s.draining.Err() != nil {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if g.timer == timer && g.referrers == 0 {
			s.startTask(func() { s.expire(g) })
		}
	})
	g.timer = timer
}

func (g *guest) disarm() {
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
}

func (s *Server) expire(g *guest) {
	s.log.Info("warden.grace-time.over", "handle", g.handle, "seconds", g.graceTime.Seconds())
	if err := s.destroy(g); err != nil {
		s.log.Warn("warden.grace-time.destroy-failed", "handle", g.handle, "error", err)
	}
}
