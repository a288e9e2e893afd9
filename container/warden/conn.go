package warden

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container/warden/protocol"
)

// ErrConnection: the server cannot be reached, or the connection ended instead of an answer. Whether the request was
// carried out is not known.
var ErrConnection = errors.New("no connection to the Warden server")

// A clientConn is a connection that one request at a time goes over.
type clientConn struct {
	net.Conn
	in *protocol.Reader
}

// maxIdle is how many connections are kept for later.
const maxIdle = 8

// connections are those to the server. A request that waits for a process must not be in the way of others, as the server
// answers the requests of a connection in order: so each request has a connection to itself while it is answered.
type connections struct {
	network, address string

	mu     sync.Mutex
	idle   []*clientConn
	closed bool
}

func (p *connections) dial(ctx context.Context) (*clientConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, p.network, p.address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConnection, err)
	}
	return &clientConn{conn, protocol.NewReader(conn)}, nil
}

func (p *connections) get(ctx context.Context) (*clientConn, error) {
	for {
		c := p.pop()
		if c == nil {
			return p.dial(ctx)
		}
		if c.alive() {
			return c, nil
		}
		c.Close()
	}
}

func (p *connections) pop() *clientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	c := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return c
}

func (p *connections) put(c *clientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		c.Close()
		return
	}
	p.idle = append(p.idle, c)
}

func (p *connections) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}

// alive tells whether the server has kept an idle connection open. What it finds to read is no answer to anything.
func (c *clientConn) alive() bool {
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = n < 0 && errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && quiet
}

// do sends a request and returns its answer. After an error of the connection, or the end of ctx, it is of no use any more.
func (c *clientConn) do(ctx context.Context, request proto.Message) (proto.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := protocol.Write(c, request); err != nil {
		return nil, broken(ctx, err)
	}
	response, err := c.in.Response()
	if err != nil {
		return nil, broken(ctx, err)
	}
	return response, nil
}

func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrConnection, err)
}

// call sends a request on a connection of its own, and returns the answer, which is of type R. What the server says instead
// is a *ServerError.
func call[R proto.Message](ctx context.Context, p *connections, request proto.Message) (none R, err error) {
	c, err := p.get(ctx)
	if err != nil {
		return none, err
	}
	response, err := c.do(ctx, request)
	if err != nil {
		c.Close()
		return none, err
	}
	switch r := response.(type) {
	case R:
		p.put(c)
		return r, nil
	case *protocol.ErrorResponse:
		p.put(c)
		return none, newServerError(r.GetMessage())
	}
	c.Close() // it answers something else than what it is asked
	return none, fmt.Errorf("answer of type %T to %T: %w", response, request, protocol.ErrFrame)
}
