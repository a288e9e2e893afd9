package messaging

import (
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"
)

// complaintPause is how often it is told that no server can be reached.
const complaintPause = time.Minute

// A link tells in the log how it stands with the connection: a server that is away is worth a warning, one that stays
// away worth another from time to time.
type link struct {
	log     *slog.Logger
	servers string // all of them, without user info

	mu       sync.Mutex
	server   string    // the last one, empty before the first
	told     time.Time // when the last complaint was made; zero while all is well
	attempts int       // that failed since the link was up
}

func (l *link) up(topic, server string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.Info(topic, "server", server)
	l.server, l.told, l.attempts = server, time.Time{}, 0
}

// down is told of the end of a link; nil means that it was meant.
func (l *link) down(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.server != "" {
		l.log.Warn("nats.disconnected", "server", l.server, "error", err)
		l.server = ""
	}
}

func (l *link) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts++
	if time.Since(l.told) < complaintPause {
		l.log.Debug("nats.unreachable", "servers", l.servers, "attempts", l.attempts, "error", err)
		return
	}
	l.told = time.Now()
	l.log.Warn("nats.unreachable", "servers", l.servers, "attempts", l.attempts, "error", err)
}

// hosts are the servers as people know them.
func hosts(servers []string) string {
	var names []string
	for _, server := range servers {
		if u, err := url.Parse(server); err == nil { // it was checked
			names = append(names, u.Host)
		}
	}
	return strings.Join(names, ", ")
}
