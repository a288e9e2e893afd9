package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// silence is how long DEAs have for answers, of which nobody knows how many there are to be: that of the Cloud Controller.
const silence = 2 * time.Second

// place returns the id of a DEA with room. It asks as Cloud Controllers did until 2013, and where nobody answers that, as later
// ones did: for offers. DEAs have stacks in these alone.
func (c *cli) place(ctx context.Context, conn *nats.Conn) (string, error) {
	if c.Stack != "" {
		return c.byOffer(ctx, conn)
	}
	asking, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	question := messaging.DiscoverMessage{Droplet: messaging.Text(c.Name), Limits: c.limits()}
	for hello, err := range messaging.DEADiscover.AskAll(asking, conn, question) {
		if err == nil {
			return hello.ID, nil
		}
	}
	if ctx.Err() != nil {
		return "", c.noOffer(ctx, conn, nil)
	}
	return c.byOffer(ctx, conn)
}

// byOffer returns the DEA with room whose offer comes first.
func (c *cli) byOffer(ctx context.Context, conn *nats.Conn) (string, error) {
	offers, err := conn.SubscribeSync(string(messaging.DEAAdvertise))
	if err != nil {
		return "", fmt.Errorf("listen to offers of DEAs: %w", err)
	}
	defer func() { _ = offers.Unsubscribe() }() // it fails on a closed connection only
	if err := messaging.DEALocate.Publish(conn, messaging.Signal{}); err != nil {
		return "", err
	}
	waiting, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	var heard []messaging.Advertisement
	for {
		msg, err := offers.NextMsgWithContext(waiting)
		switch {
		case err != nil && waiting.Err() == nil:
			return "", fmt.Errorf("wait for offers of DEAs: %w", err)
		case err != nil:
			return "", c.noOffer(ctx, conn, heard)
		}
		offer, err := messaging.DEAAdvertise.Decode(msg.Data)
		if err != nil {
			continue // it is none
		}
		if c.fits(offer) {
			return offer.ID, nil
		}
		heard = append(heard, offer)
	}
}

// noOffer tells why no DEA is there for the app, and what to do. Where ctx has ended, it wraps the cause of that.
func (c *cli) noOffer(ctx context.Context, conn *nats.Conn, heard []messaging.Advertisement) (err error) {
	var stacks []string
	for _, offer := range heard {
		stacks = append(stacks, offer.Stacks...)
	}
	slices.Sort(stacks)
	switch {
	case len(heard) == 0:
		err = fmt.Errorf("no DEA answers at %s; start examples/dea, or name another NATS server with --nats", conn.ConnectedUrlRedacted())
	case c.Stack != "" && !slices.Contains(stacks, c.Stack):
		err = fmt.Errorf("no DEA has the stack %q; name another with --stack (there are: %s), or none", c.Stack, strings.Join(slices.Compact(stacks), ", "))
	default:
		err = fmt.Errorf("no DEA has room for %d MB of memory and %d MB of disk; ask for less with --memory and --disk, or stop another app with --stop",
			c.Memory, c.Disk)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return err
}

func (c *cli) fits(offer messaging.Advertisement) bool {
	disk := offer.AvailableDisk == nil || int64(*offer.AvailableDisk) >= c.Disk
	return disk && int64(offer.AvailableMemory) >= c.Memory && (c.Stack == "" || slices.Contains(offer.Stacks, c.Stack))
}
