package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/messaging"
)

// A codec turns requests into bytes and back, encrypted where there are keys.
type codec struct {
	keys    *seal.Keys // nil: nothing is encrypted
	agentID string

	mu      sync.Mutex
	session *seal.Session // nil until the first request
	before  *seal.Session // whose replies may still come
}

func newCodec(keys *seal.Keys, agentID string) (*codec, error) {
	if keys != nil {
		if err := keys.Validate(); err != nil {
			return nil, fmt.Errorf("agent client: %w", err)
		}
	}
	return &codec{keys: keys, agentID: agentID}, nil
}

func (c *codec) encode(request messaging.AgentRequest) ([]byte, error) {
	if c.keys == nil {
		return json.Marshal(request)
	}
	to := request.ReplyTo
	request.ReplyTo = ""
	plain, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	envelope, err := c.current().Seal(plain)
	if err != nil {
		return nil, err
	}
	envelope.ReplyTo = to
	return json.Marshal(envelope)
}

func (c *codec) decode(data []byte) (messaging.AgentReply, error) {
	if c.keys != nil {
		var err error
		if data, err = c.open(data); err != nil {
			return messaging.AgentReply{}, err
		}
	}
	reply, err := messaging.AgentCall("<id>").DecodeAnswer(data)
	if err == nil && reply.Exception == nil && reply.Value == nil {
		return reply, errors.New("read reply: it has neither value nor exception, as no agent answers")
	}
	return reply, err
}

// current is the session in which requests are sent.
func (c *codec) current() *seal.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		c.session = seal.NewSession(*c.keys, c.agentID)
	}
	return c.session
}

// open decrypts a reply. An agent that was started again may number its replies from below those that it has sent before, and
// none would be taken for a long time; so a number that is refused ends the session, and the next request begins another one.
func (c *codec) open(data []byte) ([]byte, error) {
	var envelope messaging.AgentEnvelope
	if err := json.Unmarshal(data, &envelope); err != nil {
		return nil, fmt.Errorf("read reply: %w", err)
	}
	session := c.current()
	c.mu.Lock()
	if c.before != nil && c.before.ID() == envelope.SessionID {
		session = c.before
	}
	c.mu.Unlock()
	plain, err := session.Open(envelope)
	if errors.Is(err, seal.ErrSequence) {
		c.leave(session)
	}
	return plain, err
}

// leave ends a session, unless it has ended.
func (c *codec) leave(session *seal.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == session {
		c.session, c.before = nil, session
	}
}
