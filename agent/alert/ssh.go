package alert

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/deakit/deakit/messaging"
)

// maxSyslogLine bounds a line of the system log, in bytes. A longer one is dropped.
const maxSyslogLine = 16 << 10

// SSHConfig says where logins are heard of.
type SSHConfig struct {
	// Address is where Run listens for what rsyslog forwards over TCP ("auth,authpriv.* @@127.0.0.1:33331"); this is the default.
	Address string

	// Take gets each alert. It may be called by several connections at once and must return soon. Required.
	Take func(context.Context, messaging.AgentAlert)

	Logger *slog.Logger // nil discards
}

// SSH listens to the system log and makes alerts of logins by ssh. Agents did so until 2018.
type SSH struct {
	cfg SSHConfig
	log *slog.Logger
}

// NewSSH returns a listener that Run starts.
func NewSSH(cfg SSHConfig) (*SSH, error) {
	if cfg.Take == nil {
		return nil, errors.New("alert: SSHConfig.Take is missing: it says where alerts go")
	}
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:33331"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &SSH{cfg, cfg.Logger}, nil
}

// Run listens and serves until ctx ends, and returns when all connections have ended.
func (s *SSH) Run(ctx context.Context) error {
	l, err := listen(ctx, s.cfg.Address)
	if err != nil {
		return err
	}
	return s.Serve(ctx, l)
}

// Serve is Run with a listener of the caller's, which it closes.
func (s *SSH) Serve(ctx context.Context, l net.Listener) error {
	return serve(ctx, l, s.log, func(ctx context.Context, conn net.Conn) {
		lines := bufio.NewReaderSize(conn, maxSyslogLine)
		tooLong := false
		for {
			line, err := lines.ReadSlice('\n')
			rest := errors.Is(err, bufio.ErrBufferFull)
			if err != nil && !rest {
				return // rsyslog has gone, or we do
			}
			if rest && !tooLong {
				s.log.Warn("alert.syslog.dropped", "reason", fmt.Sprintf("a line is longer than %d bytes", maxSyslogLine))
			}
			if !rest && !tooLong {
				if alert, ok := FromSyslog(string(line), time.Now()); ok {
					s.cfg.Take(ctx, alert)
				}
			}
			tooLong = rest
		}
	})
}

// The lines that sshd writes about logins (both agents).
var (
	syslogHead  = regexp.MustCompile(`^(?:\d+ )?<\d{1,3}>(?:\w{3} [ \d]\d \d\d:\d\d:\d\d|\S+T\S+) (?:\S+ )?([^\s:\[]+)(?:\[\d+\])?: ?`)
	preauthEnds = regexp.MustCompile(`Connection closed by .* \[preauth\]`)
)

// FromSyslog makes the alert of one line of the system log, or returns false when it tells of no login, no logout and no
// refused login. Its id is a fresh UUID, its time now.
func FromSyslog(line string, now time.Time) (messaging.AgentAlert, bool) {
	content := strings.TrimSpace(strings.TrimPrefix(line, syslogHead.FindString(line)))
	content = shorten(content)
	title := ""
	switch {
	case strings.Contains(content, "disconnected by user"):
		title = "SSH Logout"
	case strings.Contains(content, "Accepted publickey for"), strings.Contains(content, "Accepted password for"):
		title = "SSH Login"
	case strings.Contains(content, "Failed password for"), preauthEnds.MatchString(content):
		title = "SSH Access Denied"
	default:
		return messaging.AgentAlert{}, false
	}
	return messaging.AgentAlert{ID: newUUID(), Severity: Warning, Title: title, Summary: content, CreatedAt: now.Unix()}, true
}

// newUUID returns a random UUID (version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
