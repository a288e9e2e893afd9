package applog

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"
)

// A drain is one receiver with what waits for it. Its goroutine, which Syslog.Run starts, owns the link.
type drain struct {
	syslog *Syslog
	url    string // its key among Syslog.drains; empty for the operator's target
	target target
	dialer *net.Dialer // of its own, as it asks whether an address is allowed
	queue  *queue
	log    *slog.Logger

	link  *link // nil while not connected
	wait  time.Duration
	tried time.Time // when the last connection was begun
	told  time.Time // when a failure was last told in the log
	down  bool      // since then
}

func (s *Syslog) newDrain(t target, maxBytes int, dialer *net.Dialer) *drain {
	return &drain{syslog: s, target: t, dialer: dialer, queue: newQueue(maxBytes, &s.tally),
		log: s.cfg.Logger.With("to", t.String())}
}

// drain returns the drain for a URL, a new one if need be, or nil when it cannot be served. s.mu is held.
func (s *Syslog) drain(url string) *drain {
	if d, ok := s.drains[url]; ok {
		return d
	}
	if s.closed || len(s.drains) >= s.cfg.MaxDrains {
		return nil
	}
	t, err := parseTarget(url)
	if err == nil && t.udp() {
		err = ErrURL // anyone could have datagrams sent to anyone
	}
	if err != nil {
		return nil
	}
	d := s.newDrain(t, s.cfg.DrainBytes, dialer(s.cfg.AllowDrain))
	d.url = url
	s.drains[url] = d
	s.fresh.Put(d)
	return d
}

// retire takes a drain out of service unless a line has come for it meanwhile.
func (s *Syslog) retire(d *drain) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.queue.empty() {
		return false
	}
	delete(s.drains, d.url)
	return true
}

// run sends lines until ctx ends and nothing waits any more, until hard ends, or until the drain is idle.
func (d *drain) run(ctx, hard context.Context) {
	defer d.queue.tell(d.log, true)
	defer d.disconnect()
	idle := time.NewTimer(d.syslog.cfg.DrainIdle)
	defer idle.Stop()
	for {
		select {
		case <-d.queue.ready:
		case <-d.hungUp():
			d.disconnect()
			continue
		case <-ctx.Done():
		case <-idle.C:
			if d.url != "" && d.syslog.retire(d) {
				return
			}
			d.disconnect()
		}
		lines := d.queue.take()
		d.send(hard, lines)
		d.queue.tell(d.log, false)
		if ctx.Err() != nil && d.queue.empty() {
			return
		}
		idle.Reset(d.syslog.cfg.DrainIdle)
	}
}

// send does not give up before ctx ends.
func (d *drain) send(ctx context.Context, lines []Line) {
	for len(lines) > 0 {
		if d.link == nil && !d.connect(ctx) {
			d.queue.drop(len(lines))
			return
		}
		n, err := d.link.write(lines)
		lines = lines[n:]
		d.syslog.tally.sent.Add(uint64(n))
		if err == nil {
			d.succeed()
			continue
		}
		if !errors.Is(err, errHungUp) || !d.link.used { // a receiver may end what was idle
			d.fail(err)
		}
		d.disconnect()
		if d.forsaken() {
			d.queue.drop(len(lines))
			return
		}
	}
}

// forsaken tells whether nobody has written to an app's drain for so long that it would be idle. When it does not work
// either, it ends: apps that are gone must not keep the drains of others out (MaxDrains).
func (d *drain) forsaken() bool {
	return d.url != "" && d.queue.quiet() > d.syslog.cfg.DrainIdle
}

// connect tries until it is connected. It returns false when ctx has ended, or when the drain is forsaken.
func (d *drain) connect(ctx context.Context) bool {
	for {
		if !d.pause(ctx) {
			return false
		}
		d.tried = time.Now()
		var err error
		if d.link, err = dial(ctx, d.target, &d.syslog.cfg, d.dialer); err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		d.fail(err)
		d.queue.tell(d.log, false)
		if d.forsaken() {
			return false
		}
	}
}

// pause keeps attempts to connect apart, by more and more and not by the same for all.
func (d *drain) pause(ctx context.Context) bool {
	least := d.syslog.cfg.RetryWait
	wait := max(d.wait/2+rand.N(d.wait/2+1), least)
	d.wait = min(max(2*d.wait, 2*least), d.syslog.cfg.MaxRetryWait)
	if d.tried.IsZero() {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(time.Until(d.tried.Add(wait)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fail tells of the first failure after things went well, but not too often.
func (d *drain) fail(err error) {
	if now := time.Now(); !d.down && now.Sub(d.told) >= lossPause {
		d.log.Warn("applog.syslog.failed", "error", err, "remedy", "see that the receiver runs and can be reached; lines wait")
		d.told, d.down = now, true
	}
}

func (d *drain) succeed() {
	d.wait = 0
	if d.down {
		d.log.Info("applog.syslog.recovered")
		d.down = false
	}
}

// hungUp receives when the receiver has ended the connection.
func (d *drain) hungUp() <-chan struct{} {
	if d.link == nil {
		return nil
	}
	return d.link.hungUp
}

func (d *drain) disconnect() {
	if d.link != nil {
		d.link.close()
		d.link = nil
	}
}
