package alert

import (
	"context"
	"log/slog"
	"time"

	"github.com/deakit/deakit/messaging"
)

// A Reporter makes alerts of what monit, or another supervisor, reports, and sends those that are worth it. Its methods may be called
// from several goroutines at once.
type Reporter struct {
	Addresses func() []string                  // of the machine, as its networks have them; nil: none
	Send      func(messaging.AgentAlert) error // such as Alert of heartbeat.Agent; required
	Logger    *slog.Logger                     // nil discards
}

// Mail takes a mail of monit. It fits SMTPConfig.Take.
func (r Reporter) Mail(_ context.Context, mail []byte) {
	event, err := ParseMail(mail, time.Now())
	if err != nil {
		r.log().Warn("alert.mail.refused", "error", err)
		return
	}
	r.Event(event)
}

// Event takes an event. One without an id gets one.
func (r Reporter) Event(event Event) {
	if event.ID == "" {
		event.ID = newUUID()
	}
	var addresses []string
	if r.Addresses != nil {
		addresses = r.Addresses()
	}
	if alert, ok := FromEvent(event, addresses, r.log()); ok {
		r.send(alert)
	}
}

// Login takes an alert about a login. It fits SSHConfig.Take.
func (r Reporter) Login(_ context.Context, alert messaging.AgentAlert) { r.send(alert) }

func (r Reporter) send(alert messaging.AgentAlert) {
	if err := r.Send(alert); err != nil {
		r.log().Error("alert.send.failed", "id", alert.ID, "error", err)
	}
}

func (r Reporter) log() *slog.Logger {
	if r.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return r.Logger
}
