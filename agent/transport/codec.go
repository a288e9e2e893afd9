package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/messaging"
)

// Overflow puts a reply that is too long into a blob store and returns the id of the blob. It must be an id that directors
// take: a UUID.
type Overflow func(ctx context.Context, reply []byte) (id string, err error)

// A codec turns bytes into requests and replies into bytes, alike for all transports.
type codec struct {
	sessions *seal.Sessions // nil: nothing is encrypted
	overflow Overflow       // nil: what is too long is cut
	log      *slog.Logger
}

func newCodec(agentID string, keys *seal.Keys, overflow Overflow, log *slog.Logger) (*codec, error) {
	c := &codec{overflow: overflow, log: log}
	if keys != nil {
		if err := keys.Validate(); err != nil {
			return nil, err
		}
		c.sessions = seal.NewSessions(*keys, agentID)
	}
	return c, nil
}

// open reads a request. It comes with the session in which to answer, nil when nothing is encrypted. Requests of one session
// have to be opened in the order in which they were sent.
func (c *codec) open(data []byte) (Request, *seal.Session, error) {
	if c.sessions == nil {
		request, err := DecodeRequest(data)
		return request, nil, err
	}
	var envelope messaging.AgentEnvelope
	if json.Unmarshal(data, &envelope) != nil {
		return Request{}, nil, seal.ErrNoSession
	}
	plain, session, err := c.sessions.Open(envelope)
	if err != nil {
		return Request{}, nil, err
	}
	request, err := DecodeRequest(plain)
	request.ReplyTo = envelope.ReplyTo
	return request, session, err
}

// plain is the JSON of a reply. By the old rule a reply of limit bytes or more goes into a blob.
func (c *codec) plain(ctx context.Context, r Reply, limit int) []byte {
	if c.overflow == nil || limit <= 0 {
		return r.Encode(limit)
	}
	full := r.Encode(0)
	if len(full) < limit {
		return full
	}
	id, err := c.overflow(ctx, full)
	if err != nil {
		c.log.Error("agent.reply.overflow", "bytes", len(full), "error", err)
		id = fmt.Sprintf("error: unable to upload blob to blobstore: %v", err)
	}
	return mustEncode(messaging.AgentReply{Exception: &messaging.AgentException{
		Message: "message > NATS_MAX_PAYLOAD, stored in blobstore", BlobID: id,
	}})
}

// seal encrypts a reply for its session. What has grown too long by that is cut until it fits. Without a session it is the
// plain text.
func (c *codec) seal(plain []byte, r Reply, session *seal.Session, limit int) ([]byte, error) {
	if session == nil {
		return plain, nil
	}
	for room := limit; ; {
		envelope, err := session.Seal(plain)
		if err != nil {
			return nil, err
		}
		data, err := json.Marshal(envelope)
		if err != nil {
			return nil, err
		}
		if limit <= 0 || len(data) <= limit || string(plain) == tooLong {
			return data, nil
		}
		// Encryption and its two layers of JSON let a text grow by a factor that depends on the text.
		room = min(room, len(plain)) * limit / len(data) * 9 / 10
		if plain = r.Encode(room); room <= len(tooLong) {
			plain = []byte(tooLong)
		}
	}
}
