package warden

import (
	"slices"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
)

// A guest is a container that the server knows, with what the protocol adds to it.
type guest struct {
	s         *Server
	handle    string
	c         container.Container
	graceTime time.Duration // negative: for ever

	// Guarded by Server.mu.
	referrers int
	timer     *time.Timer // of the grace time
	removing  bool        // one Destroy is at work

	// changing is held while limits are read and written back.
	changing   sync.Mutex
	softBlocks uint64
	softInodes uint64

	saving sync.Mutex // orders writes of the state file; it is taken before mu

	mu       sync.Mutex
	events   []string // of jobs
	jobs     map[uint32]*job
	gone     bool
	obituary snapshot // the last one before Destroy
}

func (s *Server) newGuest(c container.Container, graceTime time.Duration) *guest {
	return &guest{s: s, handle: c.Handle(), c: c, graceTime: graceTime, jobs: map[uint32]*job{}}
}

// guest finds a container by its handle, and lets the session refer to it.
func (c *session) guest(handle string) (*guest, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	g := c.s.guests[handle]
	if g == nil {
		return nil, &answerError{textUnknownHandle, container.ErrNotFound}
	}
	c.refer(g)
	return g, nil
}

// list returns the handles of all containers in order.
func (s *Server) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var handles []string
	for handle, g := range s.guests {
		if g != nil {
			handles = append(handles, handle)
		}
	}
	slices.Sort(handles)
	return handles
}

// reserve takes a handle for a container that is to be made. It is taken until all of the last one of that name is gone:
// what is done for the old one must not meet the new one.
func (s *Server) reserve(handle string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.guests[handle]; taken {
		return false
	}
	s.guests[handle] = nil
	return true
}

// unreserve gives up a handle that no container got.
func (s *Server) unreserve(handle string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.guests, handle)
}

// admit makes a container known. The session refers to it; nil stands for nobody.
func (s *Server) admit(g *guest, by *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guests[g.handle] = g
	if by != nil {
		by.refer(g)
	}
	s.arm(g)
}

// addEvent adds an event to the set.
func (g *guest) addEvent(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(g.events, text) {
		g.events = append(g.events, text)
	}
}

// runningJobs returns the ids of the jobs that have not ended, in order.
func (g *guest) runningJobs() []uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ids []uint64
	for id, j := range g.jobs {
		if !j.ended() {
			ids = append(ids, uint64(id))
		}
	}
	slices.Sort(ids)
	return ids
}
