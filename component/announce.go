package component

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// Record returns what the component announces of itself, without an uptime. It holds the credentials.
func (c *Component) Record() messaging.Component {
	return messaging.Component{
		Type: c.cfg.Type, Index: messaging.Int(c.cfg.Index), UUID: c.cfg.UUID, Host: c.host(),
		Credentials: []string{c.cfg.User, c.cfg.Password},
		Start:       c.start.Local().Format("2006-01-02 15:04:05 -0700"),
	}
}

// announce tells of the component now and each time when the connection is back, and answers whoever asks.
func (c *Component) announce(ctx context.Context) error {
	connected := c.cfg.Conn.StatusChanged(nats.CONNECTED)
	defer c.cfg.Conn.RemoveStatusListener(connected)
	inbox := messaging.NewInbox(c.cfg.Conn, c.log)
	defer inbox.Close()
	if err := messaging.Answer(inbox, messaging.ComponentDiscover, c.discovered); err != nil {
		return err
	}
	c.publish()
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-inbox.C():
			inbox.Dispatch(ctx, msg)
		case <-connected:
			c.publish()
		}
	}
}

func (c *Component) publish() {
	err := messaging.ComponentAnnounce.Publish(c.cfg.Conn, c.Record())
	if err != nil && !errors.Is(err, messaging.ErrDisconnected) { // when the connection is back, it is told again
		c.log.Error("component.announce.failed", "error", err)
	}
}

func (c *Component) discovered(_ context.Context, _ messaging.Signal, to messaging.Reply) {
	record := c.Record()
	record.Uptime = messaging.Uptime(time.Since(c.start))
	if err := messaging.Send(to, record); err != nil {
		c.log.Warn("component.discover.failed", "error", err)
	}
}
