package client

import (
	"context"
	"errors"
	"net"

	"github.com/deakit/deakit/messaging"
)

// DirectorRetries are the Retries of today's director: of methods that may be called twice without harm.
func DirectorRetries() map[string]int {
	return map[string]int{"get_state": 2, "get_task": 4, "upload_blob": 3}
}

// send sends a request until there is a reply, as often as Retries lets it.
func (c *Client) send(ctx context.Context, request messaging.AgentRequest) (messaging.AgentReply, error) {
	for left := c.cfg.Retries[request.Method]; ; left-- {
		reply, err := c.cfg.Transport.Do(ctx, request)
		if err == nil || left <= 0 || ctx.Err() != nil || !late(err) {
			return reply, err
		}
		c.cfg.Logger.Info("agent.client.again", "method", request.Method, "left", left-1, "error", err)
	}
}

// late tells whether there was no reply in time, over either transport.
func late(err error) bool {
	var timeout net.Error
	return errors.Is(err, ErrNoReply) || errors.As(err, &timeout) && timeout.Timeout()
}
