package alert

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/messaging"
)

// An Event is what monit, or another supervisor, reports of one service.
type Event struct {
	ID          string    // of the report; the same when it is repeated. Required
	Service     string    // "nats"
	Event       string    // "Does not exist"
	Action      string    // what is done about it: "restart"
	Time        time.Time // when; zero means now
	Description string    // for people: "process is not running"
}

// FromEvent makes the alert of an event, or returns false when it is nothing to tell anyone: what went well again, and what
// stayed the same. addresses are those of the machine, in any order; empty ones are left out. An event that nobody knows is
// told to log, which may be nil.
func FromEvent(e Event, addresses []string, log *slog.Logger) (messaging.AgentAlert, bool) {
	severity, known := Severity(e.Event)
	if !known && log != nil {
		log.Warn("alert.event.unknown", "event", e.Event, "service", e.Service, "severity", severity)
	}
	if severity == Ignored {
		return messaging.AgentAlert{}, false
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	return messaging.AgentAlert{
		ID: e.ID, Severity: severity, Title: e.title(addresses), Summary: e.Description, CreatedAt: e.Time.Unix(),
	}, true
}

// title is "nats (10.0.0.21, 10.1.0.3) - does not exist - restart".
func (e Event) title(addresses []string) string {
	service := e.Service
	addresses = slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return a == "" })
	if len(addresses) > 0 {
		slices.Sort(addresses)
		service = fmt.Sprintf("%s (%s)", service, strings.Join(slices.Compact(addresses), ", "))
	}
	return fmt.Sprintf("%s - %s - %s", service, e.Event, e.Action)
}
