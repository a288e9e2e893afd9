package warden

import (
	"context"
	"errors"
	"io"
	"net"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container/warden/protocol"
)

// A session is a connection to the server. Its requests are answered one after the other.
type session struct {
	s      *Server
	conn   net.Conn
	refers map[*guest]bool // guarded by Server.mu; nil when it has ended
}

var (
	// errGone: the connection is closed, or about to be, instead of the answer.
	errGone = errors.New("the connection is closed")
	// errSent: the verb has sent its answer itself.
	errSent = errors.New("the answer is sent")
)

// An arrival is a request, or the error in its place.
type arrival struct {
	request proto.Message
	err     *protocol.MessageError
}

// maxAhead is how many requests of a connection are read before their turn. It is more than one so that the end of a
// connection is noticed while one waits for a job and others wait for that.
const maxAhead = 16

// run answers requests until the connection ends, or draining does. Who waits for a job is interrupted by both.
func (c *session) run(draining context.Context) {
	defer c.s.leave(c)
	ctx, end := context.WithCancel(draining)
	arrivals := make(chan arrival, maxAhead)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer end() // nobody waits for an answer any more
		c.read(ctx, arrivals)
	}()
	defer func() {
		end()
		_ = c.conn.Close() // all that was to be said is written
		<-read
	}()
	for {
		select {
		case <-draining.Done():
			return
		case a, more := <-arrivals:
			if !more {
				return
			}
			if err := c.reply(ctx, a); err != nil {
				if !errors.Is(err, errGone) && ctx.Err() == nil {
					c.s.log.Debug("warden.session.failed", "error", err)
				}
				return
			}
		}
	}
}

// read hands requests over until the stream ends, and closes arrivals then.
func (c *session) read(ctx context.Context, arrivals chan<- arrival) {
	defer close(arrivals)
	in := protocol.NewReader(c.conn)
	for {
		var a arrival
		var err error
		a.request, err = in.Request()
		if err != nil && !errors.As(err, &a.err) {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				c.s.log.Info("warden.session.unreadable", "error", err)
			}
			return
		}
		select {
		case arrivals <- a:
		case <-ctx.Done():
			return
		}
	}
}

func (c *session) reply(ctx context.Context, a arrival) error {
	if a.err != nil {
		return c.send(&protocol.ErrorResponse{Message: proto.String(a.err.Error())})
	}
	response, err := c.answer(ctx, a.request)
	switch {
	case errors.Is(err, errSent):
		return nil
	case errors.Is(err, errGone):
		return err
	case err != nil:
		kind, _ := protocol.TypeOf(a.request)
		c.s.log.Debug("warden.request.failed", "request", kind.String(), "error", err)
		response = &protocol.ErrorResponse{Message: proto.String(err.Error())}
	}
	return c.send(response)
}

func (c *session) send(m proto.Message) error { return protocol.Write(c.conn, m) }

// answer does what a request asks for. ctx ends when the client is gone or the server drains: only waiting for jobs heeds
// it, as what was begun for a client is finished without it.
func (c *session) answer(ctx context.Context, request proto.Message) (proto.Message, error) {
	switch r := request.(type) {
	case *protocol.PingRequest:
		return c.ping(r), nil
	case *protocol.EchoRequest:
		return &protocol.EchoResponse{Message: r.Message}, nil
	case *protocol.ListRequest:
		return &protocol.ListResponse{Handles: c.s.list()}, nil
	case *protocol.CreateRequest:
		return c.create(r)
	}
	g, err := c.guest(request.(interface{ GetHandle() string }).GetHandle())
	if err != nil {
		return nil, err
	}
	response, err := c.answerFor(ctx, g, request)
	if err != nil {
		return nil, explain(err)
	}
	return response, nil
}

// answerFor does what a request asks of a container.
func (c *session) answerFor(ctx context.Context, g *guest, request proto.Message) (proto.Message, error) {
	switch r := request.(type) {
	case *protocol.StopRequest:
		return c.stop(g, r)
	case *protocol.DestroyRequest:
		return &protocol.DestroyResponse{}, c.s.destroy(g)
	case *protocol.InfoRequest:
		return c.info(g, r)
	case *protocol.SpawnRequest:
		return c.spawn(g, r)
	case *protocol.LinkRequest:
		return c.link(ctx, g, r)
	case *protocol.StreamRequest:
		return c.stream(ctx, g, r)
	case *protocol.RunRequest:
		return c.runScript(ctx, g, r)
	case *protocol.NetInRequest:
		return c.netIn(g, r)
	case *protocol.NetOutRequest:
		return c.netOut(g, r)
	case *protocol.CopyInRequest:
		return c.copyIn(g, r)
	case *protocol.CopyOutRequest:
		return c.copyOut(g, r)
	case *protocol.LimitMemoryRequest:
		return c.limitMemory(g, r)
	case *protocol.LimitCpuRequest:
		return c.limitCPU(g, r)
	case *protocol.LimitDiskRequest:
		return c.limitDisk(g, r)
	case *protocol.LimitBandwidthRequest:
		return c.limitBandwidth(g, r)
	default: // a verb that the protocol has and this switch forgot
		kind, _ := protocol.TypeOf(request)
		return nil, errors.New("not implemented: " + kind.String())
	}
}
