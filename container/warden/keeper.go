package warden

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container/warden/protocol"
)

// The waits between attempts to reach the server.
const (
	firstWait = 50 * time.Millisecond
	longWait  = 5 * time.Second
)

// A backoff makes waits longer and longer.
type backoff struct{ next time.Duration }

// wait waits for a while, or until ctx ends, and returns its error.
func (b *backoff) wait(ctx context.Context) error {
	b.next = min(max(2*b.next, firstWait), longWait)
	timer := time.NewTimer(b.next/2 + rand.N(b.next/2)) // so that many clients do not come at once
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A reference asks the keeper to refer to a container.
type reference struct {
	handle string
	made   chan struct{} // closed when it does
}

// A keeper holds one connection open, which refers to all containers, so that they do not go when their grace time is over.
type keeper struct {
	conns      *connections
	references chan reference
	log        func(connected bool, err error)
}

// refer returns when the connection refers to a container, or is a new one, which refers to all.
func (k *keeper) refer(ctx context.Context, handle string) error {
	r := reference{handle, make(chan struct{})}
	select {
	case k.references <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.made:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run keeps a connection until ctx ends; the first one is given.
func (k *keeper) run(ctx context.Context, c *clientConn) {
	for {
		err := k.hold(ctx, c)
		if ctx.Err() != nil {
			return
		}
		k.log(false, err)
		if c = k.redial(ctx); c == nil {
			return
		}
		k.log(true, nil)
	}
}

// redial returns a new connection, or nil when ctx has ended.
func (k *keeper) redial(ctx context.Context) *clientConn {
	var pause backoff
	for {
		if pause.wait(ctx) != nil {
			return nil
		}
		c, err := k.conns.dial(ctx)
		if err != nil {
			continue
		}
		// The server has noticed it once it answers.
		if _, err := c.do(ctx, &protocol.PingRequest{}); err != nil {
			c.Close()
			continue
		}
		return c
	}
}

// hold keeps a connection and lets it refer to containers, until it breaks or ctx ends.
func (k *keeper) hold(ctx context.Context, c *clientConn) error {
	answers, read := make(chan proto.Message), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			m, err := c.in.Response()
			if err != nil {
				read <- err
				close(read)
				return
			}
			select {
			case answers <- m:
			case <-ctx.Done():
			}
		}
	}()
	defer func() {
		cancel()
		c.Close()
		for range read { // until the reader has ended
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-read:
			return err
		case r := <-k.references:
			err := protocol.Write(c, &protocol.InfoRequest{Handle: &r.handle, Unmeasured: proto.Bool(true)})
			if err == nil {
				select {
				case <-answers:
				case err = <-read:
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			close(r.made) // also if not: the next connection refers to it
			if err != nil {
				return err
			}
		}
	}
}
