package garden

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
)

// A tap is one output of a process. It goes on when the connection by which it comes is lost and another one is made; what
// the process wrote meanwhile is lost.
type tap struct {
	name string // "stdout" or "stderr"

	mu      sync.Mutex
	conn    *rawConn
	over    bool          // the end of conn is that of the output
	changed chan struct{} // closed, and replaced, when one of them changes
}

func newTap(name string, conn *rawConn) *tap {
	return &tap{name: name, conn: conn, changed: make(chan struct{})}
}

// Read reads what comes by this connection or the next.
func (t *tap) Read(p []byte) (int, error) {
	for {
		t.mu.Lock()
		conn := t.conn
		t.mu.Unlock()
		n, err := conn.Read(p)
		if n > 0 || err == nil {
			return n, nil // the error comes again
		}
		if t.ended(conn) {
			return 0, err
		}
	}
}

// ended waits until it is known whether another connection follows conn.
func (t *tap) ended(conn *rawConn) bool {
	for {
		t.mu.Lock()
		now, over, changed := t.conn, t.over, t.changed
		t.mu.Unlock()
		if now != conn || over {
			return now == conn
		}
		<-changed
	}
}

// renew goes on with another connection.
func (t *tap) renew(conn *rawConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.conn.Close() // nothing comes there any more
	t.conn = conn
	t.change()
}

// finish says that no other connection follows.
func (t *tap) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.over = true
		t.change()
	}
}

func (t *tap) change() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Close ends Read.
func (t *tap) Close() error {
	t.finish()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// openTaps opens the outputs of those names of a process, all or none.
func (c *box) openTaps(ctx context.Context, conn *processConn, names []string) (conns []*rawConn, err error) {
	for _, name := range names {
		route := c.route("processes", conn.processID, "attaches", conn.streamID, name)
		raw, err := c.b.client.takeOver(ctx, "GET", route, nil)
		if err != nil {
			for _, raw := range conns {
				raw.Close()
			}
			return nil, err
		}
		conns = append(conns, raw)
	}
	return conns, nil
}

// The waits between attempts to reach the server again.
const (
	firstWait = 50 * time.Millisecond
	longWait  = 5 * time.Second
)

// await waits for the end of the process, whatever becomes of connections: the server may be started anew, and the process
// lives on. It ends also with ctx, and when the server does not know the process any more.
func (p *process) await(ctx context.Context, conn *processConn, taps []*tap) (container.ExitStatus, error) {
	wait := firstWait
	for {
		stop := context.AfterFunc(ctx, conn.close)
		status, err := conn.await()
		stop()
		conn.close()
		if !errors.Is(err, ErrConnection) || ctx.Err() != nil {
			return status, err
		}
		p.c.b.log.Warn("garden.process.connection-lost", "handle", p.c.handle, "process", p.name, "error", err)
		if conn, wait, err = p.reconnect(ctx, taps, wait); err != nil {
			closeAll(taps)
			return -1, fmt.Errorf("%w: %w", container.ErrStatusUnknown, err)
		}
	}
}

// reconnect tries until the server answers, and connects the outputs. wait is the first wait, and then the next one.
func (p *process) reconnect(ctx context.Context, taps []*tap, wait time.Duration) (*processConn, time.Duration, error) {
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, 0, ctx.Err()
		}
		wait = min(2*wait, longWait)
		conn, err := p.attachAgain(ctx, taps)
		if err == nil || !errors.Is(err, ErrConnection) {
			return conn, wait, err
		}
	}
}

func (p *process) attachAgain(ctx context.Context, taps []*tap) (*processConn, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, p.c.b.client.timeout, ErrConnection)
	defer cancel()
	conn, err := p.c.b.client.openProcess(bounded, "GET", p.c.route("processes", p.name), nil)
	if err == nil {
		var names []string
		for _, t := range taps {
			names = append(names, t.name)
		}
		var conns []*rawConn
		if conns, err = p.c.openTaps(bounded, conn, names); err == nil {
			for i, t := range taps {
				t.renew(conns[i])
			}
			return conn, nil
		}
		conn.close()
	}
	if ctx.Err() == nil && bounded.Err() != nil {
		err = fmt.Errorf("%w: no answer within %v", ErrConnection, p.c.b.client.timeout)
	}
	return nil, err
}
