package garden

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
)

// A processConn is the connection of a process stream: after the headers of the answer it carries JSON in both directions.
type processConn struct {
	*rawConn
	in *json.Decoder

	processID, streamID string
	ownsInput           bool // it is that of Run

	writing sync.Mutex
}

// openProcess opens a process stream: it starts the process of spec, or attaches to one without.
func (c *client) openProcess(ctx context.Context, method, route string, spec *processSpec) (*processConn, error) {
	var body any
	if spec != nil {
		body = spec
	}
	raw, err := c.takeOver(ctx, method, route, body)
	if err != nil {
		return nil, err
	}
	p := &processConn{rawConn: raw, in: json.NewDecoder(raw), ownsInput: spec != nil}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	first, err := p.receive()
	if !stop() {
		err = ctx.Err()
	}
	if err == nil && first.ProcessID == "" {
		err = fmt.Errorf("answer to %s %s names no process", method, route)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	p.processID, p.streamID = first.ProcessID, first.StreamID
	return p, nil
}

// A rawConn is a connection that carries no more HTTP.
type rawConn struct {
	net.Conn
	in *bufio.Reader
}

// Read reads what comes after the headers.
func (r *rawConn) Read(p []byte) (int, error) { return r.in.Read(p) }

// takeOver sends a request on a connection of its own, and takes that over after the headers of the answer. What follows is
// no body, whatever the headers say.
func (c *client) takeOver(ctx context.Context, method, route string, body any) (*rawConn, error) {
	request, err := newRequest(ctx, method, route, nil, body)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, broken(ctx, err)
	}
	raw := &rawConn{conn, bufio.NewReader(conn)}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if err = raw.shakeHands(ctx, request); !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return raw, nil
}

func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrConnection, err)
}

func (r *rawConn) shakeHands(ctx context.Context, request *http.Request) error {
	if err := request.Write(r.Conn); err != nil {
		return broken(ctx, err)
	}
	response, err := http.ReadResponse(r.in, request)
	if err != nil {
		return broken(ctx, err)
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		return readError(response)
	}
	return nil
}

func (p *processConn) receive() (m payload, err error) {
	if err := p.in.Decode(&m); err != nil {
		return m, fmt.Errorf("%w: %w", ErrConnection, err)
	}
	return m, nil
}

// await reads until the process has ended.
func (p *processConn) await() (container.ExitStatus, error) {
	for {
		m, err := p.receive()
		switch {
		case err != nil:
			return -1, fmt.Errorf("%w: %w", container.ErrStatusUnknown, err)
		case m.Error != nil:
			return -1, fmt.Errorf("%w: %w", container.ErrStatusUnknown, errors.New(*m.Error))
		case m.ExitStatus != nil:
			return container.ExitStatus(*m.ExitStatus), nil
		}
	}
}

// sendPatience bounds the sending of a signal.
const sendPatience = 10 * time.Second

func (p *processConn) send(m payload) error {
	m.ProcessID = p.processID
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	_, err = p.Write(append(text, '\n'))
	return err
}

func (p *processConn) sendInput(text string) error {
	return p.send(payload{Source: new(int), Data: &text})
}

func (p *processConn) endInput() error { return p.send(payload{Source: new(int)}) }

// sendSignal returns when the server has sent the signal on.
func (p *processConn) sendSignal(number int) error {
	if err := p.SetDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	if err := p.send(payload{Signal: &number}); err != nil {
		return fmt.Errorf("%w: %w", ErrConnection, err)
	}
	// It closes the connection when ours ends, after it has read everything, or when the process has ended.
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return fmt.Errorf("%w: %w", ErrConnection, err)
		}
		_, err := io.Copy(io.Discard, io.MultiReader(p.in.Buffered(), p.Conn))
		return err
	}
	return nil
}

func (p *processConn) close() { p.Close() }
