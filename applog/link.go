package applog

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

const (
	maxDatagram = 8 << 10  // bytes: what receivers take by default
	chunkSize   = 64 << 10 // bytes that are written at once to a stream
	maxChatter  = 64 << 10 // bytes that a receiver may send
)

var errHungUp = errors.New("the receiver has closed the connection")

// A link is a connection to a syslog receiver. One goroutine uses it.
type link struct {
	conn     net.Conn
	datagram bool
	hostname string
	maxText  int
	patience time.Duration // for one write
	hungUp   chan struct{} // closed when the other side has ended the connection; nil for datagrams
	release  func()        // ends the watch for the end of the context
	used     bool          // something was written

	buf  []byte
	ends []int // where each message in buf ends
}

// dial connects. The link is cut when ctx ends.
func dial(ctx context.Context, t target, cfg *SyslogConfig, dialer *net.Dialer) (*link, error) {
	short, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	l := &link{hostname: cfg.Hostname, maxText: cfg.MaxText, patience: cfg.WriteTimeout}
	var err error
	switch t.scheme {
	case "syslog-udp":
		l.datagram, l.maxText = true, min(cfg.MaxText, maxDatagram-1024)
		l.conn, err = dialer.DialContext(short, "udp", t.address())
	case "syslog-tls":
		secure := &tls.Dialer{NetDialer: dialer, Config: cfg.TLS}
		l.conn, err = secure.DialContext(short, "tcp", t.address())
	default:
		l.conn, err = dialer.DialContext(short, "tcp", t.address())
	}
	if err != nil {
		return nil, err
	}
	l.cutWith(ctx)
	if !l.datagram {
		l.hungUp = make(chan struct{})
		go l.listen()
	}
	return l, nil
}

// cutWith cuts the connection when ctx ends, without a good-bye, for which the other side may not have the time.
func (l *link) cutWith(ctx context.Context) {
	raw := l.conn
	if secure, ok := raw.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = raw.Close()
	})
	l.release = func() {
		if !stop() {
			<-done
		}
	}
}

// listen waits for the end of a connection on which nothing is expected; a receiver that talks a lot is left. Without it
// the first lines after the receiver was restarted would go nowhere.
func (l *link) listen() {
	defer close(l.hungUp)
	_, _ = io.CopyN(io.Discard, l.conn, maxChatter)
}

// close ends the connection, and what listens on it.
func (l *link) close() {
	_ = l.conn.Close() // everything was written, or has failed
	l.release()
	if l.hungUp != nil {
		<-l.hungUp
	}
}

// write sends lines, some at once. It returns how many the system took whole.
func (l *link) write(lines []Line) (int, error) {
	select {
	case <-l.hungUp:
		return 0, errHungUp
	default:
	}
	if l.datagram {
		lines = lines[:1]
	}
	l.encode(lines)
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.patience)); err != nil {
		return 0, err
	}
	n, err := l.conn.Write(l.buf)
	l.used = true
	if err == nil {
		return len(l.ends), nil
	}
	whole := 0
	for whole < len(l.ends) && l.ends[whole] <= n {
		whole++
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.New("the receiver takes nothing any more")
	}
	return whole, err
}

// encode puts as many lines as make a chunk into the buffer, at least one. A stream has each message with its length
// before it (octet counting, RFC 6587), and with a line feed at its end, as Loggregator does for receivers that do not count.
func (l *link) encode(lines []Line) {
	l.buf, l.ends = l.buf[:0], l.ends[:0]
	for _, line := range lines {
		if l.datagram {
			l.buf = appendMessage(l.buf, line, l.hostname, l.maxText)
		} else {
			l.buf = appendFrame(l.buf, line, l.hostname, l.maxText)
		}
		l.ends = append(l.ends, len(l.buf))
		if len(l.buf) >= chunkSize {
			return
		}
	}
}

// lengthRoom is left for the length before it is known: more digits than a message can have.
const lengthRoom = 10

func appendFrame(dst []byte, line Line, hostname string, maxText int) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, lengthRoom)...)
	dst = appendMessage(dst, line, hostname, maxText)
	dst = append(dst, '\n')
	message := dst[start+lengthRoom:]
	var digits [lengthRoom]byte
	length := append(strconv.AppendInt(digits[:0], int64(len(message)), 10), ' ')
	end := start + copy(dst[start:], length)
	return dst[:end+copy(dst[end:], message)]
}
