package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/messaging"
)

// A Node is a BOSH agent with all that belongs to it.
type Node struct{ cfg Config }

// New checks the configuration. It starts nothing and touches nothing.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Node{cfg}, nil
}

// Run brings the machine up, step by step, and is an agent until ctx ends, something fails for good, or a director wants it to
// end. Then it takes no more requests, answers those that are here, ends what it has started, and returns: nil after ctx has
// ended, [ErrRestart] or [ErrShutdown] when told so, else what failed. Jobs under monit go on.
func (n *Node) Run(ctx context.Context) (err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	m := &machine{cfg: n.cfg, log: n.cfg.Logger, end: end}
	defer func() {
		err = errors.Join(err, m.close())
		m.log.Info("agent.ended")
	}()
	began := time.Now()
	for _, s := range m.steps() {
		if err := s.do(ctx); err != nil {
			if ctx.Err() != nil {
				return m.verdict(ctx)
			}
			return fmt.Errorf("node: %s: %w", s.name, err)
		}
		m.log.Debug("agent.step", "step", s.name, "at", time.Since(began))
	}
	return m.serve(ctx)
}

// serve runs the agent, with its services beside it: these begin before it takes requests, and end when the last is answered.
func (m *machine) serve(ctx context.Context) error {
	services, running := errgroup.WithContext(context.WithoutCancel(ctx))
	life, endServices := context.WithCancel(running)
	defer endServices()
	for _, s := range m.services {
		services.Go(func() error {
			if err := s.run(life); err != nil {
				return fmt.Errorf("node: %s: %w", s.name, err)
			}
			return nil
		})
	}
	requests, endRequests := context.WithCancel(ctx)
	defer endRequests()
	stop := context.AfterFunc(running, endRequests) // without a service there is no agent
	defer stop()
	if m.cfg.Ready != nil {
		m.place.Waiting = m.conn != nil && !m.conn.IsConnected()
		m.cfg.Ready(m.place)
	}
	err := m.agent.Run(requests)
	endServices()
	err = errors.Join(err, services.Wait())
	if err != nil {
		return err
	}
	return m.verdict(ctx)
}

// verdict is why ctx has ended.
func (m *machine) verdict(ctx context.Context) error {
	for _, exit := range []error{ErrRestart, ErrShutdown} {
		if errors.Is(context.Cause(ctx), exit) {
			return exit
		}
	}
	return nil
}

// drainTime is how long it may take to send the last replies.
const drainTime = 5 * time.Second

// close gives back what the steps have taken, in the reverse order.
func (m *machine) close() error {
	var errs []error
	if m.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		if err := messaging.Drain(ctx, m.conn); err != nil {
			m.log.Warn("nats.drain.failed", "error", err) // there is no server, as happens; nobody waits for anything
		}
	}
	if m.listener != nil {
		_ = m.listener.Close() // the transport has, if it ran
	}
	if m.blobRoot != nil {
		errs = append(errs, m.blobRoot.Close())
	}
	if m.pid != nil {
		errs = append(errs, m.pid.Remove())
	}
	return errors.Join(errs...)
}
