package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/node"
)

// An agent in a directory is started in the background and spoken to at once. So long it may take to come up; from the second time
// on, people are told what is waited for.
const (
	devPatience = 5 * time.Second
	devSilence  = time.Second
)

// await waits for an agent in a directory to listen, over NATS for its server. When it does not in time, whoever tries to reach it
// tells why.
func (c *cli) await(ctx context.Context) {
	if c.Dev == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, devPatience)
	defer cancel()
	const pause = 50 * time.Millisecond
	tell, look := time.NewTimer(devSilence), time.NewTicker(pause)
	defer tell.Stop()
	defer look.Stop()
	for !listens(ctx, string(c.Dev)) {
		select {
		case <-look.C:
		case <-tell.C:
			fmt.Fprintf(os.Stderr, "agentctl: no agent in %s yet; waiting for it for %s\n", c.Dev, devPatience)
		case <-ctx.Done():
			return
		}
	}
}

// listens tells whether it makes no sense to wait for the agent of a directory: it is there, or something else is wrong.
func listens(ctx context.Context, dir string) bool {
	at, err := node.ReadAccess(dir)
	if err != nil {
		return !errors.Is(err, node.ErrNoAgent)
	}
	bus, err := url.Parse(at.Mbus)
	if err != nil || bus.Port() == "" {
		return true
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", bus.Host)
	if err != nil {
		return !errors.Is(err, syscall.ECONNREFUSED)
	}
	conn.Close()
	return true
}

// onBus waits for an agent in a directory to take requests over NATS. When it does not in time, whoever asks it tells why.
func (c *cli) onBus(ctx context.Context, agent *client.Client) {
	if c.Dev == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, devPatience)
	defer cancel()
	tell := time.AfterFunc(devSilence, func() {
		fmt.Fprintf(os.Stderr, "agentctl: the agent in %s does not answer yet; waiting for it for %s\n", c.Dev, devPatience)
	})
	defer tell.Stop()
	_ = agent.WaitUntilReady(ctx)
}
