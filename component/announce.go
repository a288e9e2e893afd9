package component

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// Subjects by which collectors find components (vcap-common).
const (
	Announce messaging.Subject[Record]                 = "vcap.component.announce" // a component: here I am
	Discover messaging.Query[messaging.Signal, Record] = "vcap.component.discover" // collectors: who is there?
)

// A Record is what a component says of itself.
type Record struct {
	Type        string    `json:"type" validate:"required"` // "DEA" for example
	Index       int       `json:"index"`
	UUID        string    `json:"uuid" validate:"required"` // "<index>-<32 hex digits>"
	Host        string    `json:"host" validate:"required"` // of the endpoint, "ip:port"
	Credentials [2]string `json:"credentials"`              // of the endpoint: user and password
	Start       string    `json:"start"`                    // local time, "2014-02-28 15:13:08 -0800"
	Uptime      string    `json:"uptime,omitempty"`         // "0d:0h:12m:7s"; in answers only
}

// Record returns the record as it is announced, without an uptime.
func (c *Component) Record() Record {
	return Record{
		Type: c.cfg.Type, Index: c.cfg.Index, UUID: c.cfg.UUID, Host: c.host(),
		Credentials: [2]string{c.cfg.User, c.cfg.Password},
		Start:       c.start.Local().Format("2006-01-02 15:04:05 -0700"),
	}
}

// announce tells of the component now and each time when the connection is back, and answers whoever asks.
func (c *Component) announce(ctx context.Context) error {
	connected := c.cfg.Conn.StatusChanged(nats.CONNECTED)
	defer c.cfg.Conn.RemoveStatusListener(connected)
	inbox := messaging.NewInbox(c.cfg.Conn, c.log)
	defer inbox.Close()
	if err := messaging.Answer(inbox, Discover, c.discovered); err != nil {
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
	err := Announce.Publish(c.cfg.Conn, c.Record())
	if err != nil && !errors.Is(err, messaging.ErrDisconnected) { // when the connection is back, it is told again
		c.log.Error("component.announce.failed", "error", err)
	}
}

func (c *Component) discovered(_ context.Context, _ messaging.Signal, to messaging.Reply) {
	record := c.Record()
	record.Uptime = uptime(time.Since(c.start))
	if err := messaging.Send(to, record); err != nil {
		c.log.Warn("component.discover.failed", "error", err)
	}
}

// uptime writes a duration as "0d:0h:12m:7s".
func uptime(d time.Duration) string {
	s := int64(d / time.Second)
	return fmt.Sprintf("%dd:%dh:%dm:%ds", s/86400, s/3600%24, s/60%60, s%60)
}
