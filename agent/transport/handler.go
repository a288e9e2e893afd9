package transport

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/deakit/deakit/messaging"
)

// A Handler does what a request asks. It is called from many goroutines at a time. The context ends when the transport has
// ended and requests had time to end, not when the peer goes away: half of an action is worse than one that nobody awaits.
type Handler func(context.Context, Request) Reply

// A Request is one call of a method.
type Request struct {
	messaging.AgentRequest
	Raw json.RawMessage // the whole request as it came, decrypted
}

// A Reply is the outcome of a request.
type Reply struct {
	Value json.RawMessage
	Err   error // not nil: there is no Value
}

// A Shortener is an error that has a shorter text, for replies that are too long otherwise.
type Shortener interface{ ShortError() string }

// DecodeRequest reads a request as peers send it. It fails with a *messaging.MessageError on what is no JSON object or has a
// method, protocol or reply_to of the wrong type; arguments are the business of the method.
func DecodeRequest(data []byte) (Request, error) {
	request, err := messaging.AgentCall("<id>").Decode(data)
	return Request{AgentRequest: request, Raw: data}, err
}

// exception is the text of a failed reply.
func (r Reply) exception() messaging.AgentReply {
	return messaging.AgentReply{Exception: &messaging.AgentException{Message: r.Err.Error()}}
}

// short has the shorter text, where the error knows one.
func (r Reply) short() (messaging.AgentReply, bool) {
	var s Shortener
	if !errors.As(r.Err, &s) {
		return messaging.AgentReply{}, false
	}
	return messaging.AgentReply{Exception: &messaging.AgentException{Message: s.ShortError()}}, true
}

// grace is how long requests may go on when the transport is to end.
const grace = 5 * time.Second

// outlast returns the context of requests: it ends five seconds after ctx, or when it is cut.
func outlast(ctx context.Context) (context.Context, context.CancelFunc) {
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cut()
		case <-life.Done():
		}
	})
	return life, func() { stop(); cut() }
}

// A Transport carries requests to a handler until its context ends: [NATS], [HTTPS], or one of your own.
type Transport interface {
	Run(ctx context.Context, handler Handler) error
}
