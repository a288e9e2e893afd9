package logging

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	facilityUser = 1 << 3
	maxDatagram  = 32 << 10 // bytes of one line; longer ones are cut
	rfc5424Time  = "2006-01-02T15:04:05.000000Z07:00"

	// A log that hangs must not hold up the program: so much for looking up its address, so much for sending, and so
	// long a pause after either failed.
	dialTimeout = time.Second
	sendTimeout = 200 * time.Millisecond
	retryPause  = 5 * time.Second
)

var errAddress = errors.New("syslog address must be udp://host:port or unixgram:///path")

// A syslog sends lines to the system log as datagrams. It connects when there is something to send.
type syslog struct {
	network, address string
	header           func(severity int, now time.Time) string
	pause            time.Duration

	mu      sync.Mutex
	conn    net.Conn // nil while not connected
	retryAt time.Time
	closed  bool
}

// ParseSyslogAddress returns what net.Dial needs for a [Config.SyslogAddress]. The error does not repeat the address.
func ParseSyslogAddress(address string) (network, target string, err error) {
	u, err := url.Parse(cmp.Or(address, "unixgram:///dev/log"))
	switch {
	case err != nil:
		return "", "", errAddress // the text of err repeats the address
	case u.Scheme == "unixgram" && u.Host == "" && u.Path != "":
		return u.Scheme, u.Path, nil
	case u.Scheme == "udp" && u.Hostname() != "" && u.User == nil && u.Path == "" && u.RawQuery == "":
		port := cmp.Or(u.Port(), "514")
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", "", errAddress
		}
		return u.Scheme, net.JoinHostPort(u.Hostname(), port), nil
	default:
		return "", "", errAddress
	}
}

func newSyslog(identity, address string) (*syslog, error) {
	network, target, err := ParseSyslogAddress(address)
	if err != nil {
		return nil, err
	}
	header := localHeader(identity)
	if network == "udp" {
		header = remoteHeader(identity)
	}
	return &syslog{network: network, address: target, header: header, pause: retryPause}, nil
}

// localHeader is what the C library's syslog() writes: daemons take nothing else on their socket.
func localHeader(identity string) func(int, time.Time) string {
	tag := fmt.Sprintf("%s[%d]:", printable(identity, 255), os.Getpid())
	return func(severity int, now time.Time) string {
		return fmt.Sprintf("<%d>%s %s ", facilityUser|severity, now.Format(time.Stamp), tag)
	}
}

// remoteHeader is that of RFC 5424, without structured data.
func remoteHeader(identity string) func(int, time.Time) string {
	host, err := os.Hostname()
	if err != nil {
		host = "-" // the standard's word for "not known"
	}
	tag := fmt.Sprintf("%s %s %d - - ", printable(host, 255), printable(identity, 48), os.Getpid())
	return func(severity int, now time.Time) string {
		return fmt.Sprintf("<%d>1 %s %s", facilityUser|severity, now.Format(rfc5424Time), tag)
	}
}

// printable makes s fit for a field of a header: not empty, no blanks, ASCII, not too long.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	return cmp.Or(s[:min(len(s), most)], "-")
}

// send sends one line. When the connection turns out to be broken, as after a restart of the daemon, it is made anew
// once. After a failure, lines are refused for a while.
func (s *syslog) send(severity int, line []byte) error {
	datagram := s.header(severity, time.Now()) + strings.TrimSuffix(string(line), "\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fmt.Errorf("syslog: %w", net.ErrClosed)
	case time.Now().Before(s.retryAt):
		return errors.New("syslog: not reachable; see that its daemon runs")
	}
	err := s.sendOrRedial([]byte(cut(datagram, maxDatagram)))
	if err != nil {
		s.disconnect()
		s.retryAt = time.Now().Add(s.pause)
		return fmt.Errorf("syslog: %w", err)
	}
	return nil
}

func (s *syslog) sendOrRedial(datagram []byte) error {
	if s.conn != nil {
		err := s.write(datagram)
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		s.disconnect()
	}
	conn, err := net.DialTimeout(s.network, s.address, dialTimeout)
	if err != nil {
		return err
	}
	s.conn = conn
	return s.write(datagram)
}

func (s *syslog) write(datagram []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(datagram)
	return err
}

func (s *syslog) disconnect() {
	if s.conn != nil {
		_ = s.conn.Close() // a datagram socket holds nothing back
		s.conn = nil
	}
}

// cut shortens s to what fits, not within a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// Close ends the connection; nothing is waiting in it.
func (s *syslog) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.disconnect()
	return nil
}
