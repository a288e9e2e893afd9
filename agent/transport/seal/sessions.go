package seal

import (
	"container/list"
	"sync"

	"github.com/deakit/deakit/messaging"
)

// maxSessions bounds what an agent remembers. A director has one session with an agent for as long as its process lives.
const maxSessions = 1024

// Sessions are the conversations that others began with an agent; of those beyond 1024 the one that was silent for longest
// is forgotten. A session begins with a message that is right in all respects, so whoever lacks the keys drives nobody out.
// As the format has no other memory, what was recorded of a forgotten session, or before a restart, can be replayed once.
type Sessions struct {
	keys   Keys
	client string

	mu    sync.Mutex
	byID  map[string]*list.Element // of *Session
	order *list.List               // the one used last in front
}

// NewSessions returns no sessions yet. The client id is the agent's id.
func NewSessions(keys Keys, clientID string) *Sessions {
	return &Sessions{keys: keys, client: clientID, byID: map[string]*list.Element{}, order: list.New()}
}

// Open decrypts a message and returns it with the session in which it is to be answered. It fails with an *Error.
func (s *Sessions) Open(e messaging.AgentEnvelope) ([]byte, *Session, error) {
	data, number, err := s.keys.open(e)
	if err != nil {
		return nil, nil, err
	}
	session := s.of(e.SessionID)
	session.mu.Lock()
	defer session.mu.Unlock()
	if number <= session.received {
		return nil, nil, ErrSequence
	}
	session.received = number
	return data, session, nil
}

// of finds or begins a session.
func (s *Sessions) of(id string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.byID[id]; ok {
		s.order.MoveToFront(found)
		return found.Value.(*Session)
	}
	if s.order.Len() >= maxSessions {
		oldest := s.order.Back()
		delete(s.byID, s.order.Remove(oldest).(*Session).id)
	}
	session := newSession(s.keys, s.client, id)
	s.byID[id] = s.order.PushFront(session)
	return session
}
