package applog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/deakit/deakit/internal/mailbox"
)

// drainsOfLine bounds to how many drains one line is sent; what an app has more is not served.
const drainsOfLine = 8

// SyslogConfig tells a Syslog where to send lines, and how. One of Target and Drains is required.
type SyslogConfig struct {
	// Target gets every line: syslog://host:port (TCP), syslog-tls://host:port or syslog-udp://host:port. The first two
	// schemes are those of Loggregator. The default ports are 514, 6514 and 514.
	Target string

	// Drains sends each line also to its own drains, by TCP or TLS. Their URLs come from service bindings, that is from
	// anyone who may bind a service to an app: this makes the node connect to where strangers want it to.
	Drains bool

	// AllowDrain says to which addresses Drains may connect. It is asked for every address before it is connected to, after
	// names were resolved. Nil allows the public internet only ([PublicAddress]). Target is not asked for.
	AllowDrain func(netip.AddrPort) bool

	// MaxDrains bounds the drains that are served at once; default 100. Lines for more are lost.
	MaxDrains int

	// DrainIdle is how long a drain is kept that nothing is sent to; default 2 min. When the drain cannot be reached either,
	// what waits for it is lost then.
	DrainIdle time.Duration

	// TLS says whom to trust; nil trusts the authorities of the system. The name of the receiver is filled in.
	TLS *tls.Config

	// Hostname is the HOSTNAME of messages; default "deakit".
	Hostname string

	// MaxText bounds the text of a message in bytes; default 64 KiB. A datagram takes 7 KiB at most.
	MaxText int

	// QueueBytes bounds what waits for Target, DrainBytes what waits for each drain, in bytes; defaults 8 MiB and 1 MiB.
	// When there is more, the oldest lines are lost. As much again can be on its way.
	QueueBytes, DrainBytes int

	// DialTimeout bounds a connection's coming about, with name and handshake; default 10 s. WriteTimeout bounds a write,
	// after which the connection is made anew; default 10 s.
	DialTimeout, WriteTimeout time.Duration

	// RetryWait is the pause after a connection failed; default 500 ms. It doubles each time, up to MaxRetryWait, default
	// 1 min.
	RetryWait, MaxRetryWait time.Duration

	// FlushTimeout bounds how long Run goes on sending what waits when its context has ended; default 3 s.
	FlushTimeout time.Duration

	Logger *slog.Logger // nil discards
}

func (c SyslogConfig) withDefaults() SyslogConfig {
	setDefault(&c.MaxDrains, 100)
	setDefault(&c.DrainIdle, 2*time.Minute)
	setDefault(&c.Hostname, "deakit")
	setDefault(&c.MaxText, 64<<10)
	setDefault(&c.QueueBytes, 8<<20)
	setDefault(&c.DrainBytes, 1<<20)
	setDefault(&c.DialTimeout, 10*time.Second)
	setDefault(&c.WriteTimeout, 10*time.Second)
	setDefault(&c.RetryWait, 500*time.Millisecond)
	setDefault(&c.MaxRetryWait, time.Minute)
	setDefault(&c.FlushTimeout, 3*time.Second)
	if c.AllowDrain == nil {
		c.AllowDrain = PublicAddress
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T ~int | ~int64 | ~string](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c SyslogConfig) check() error {
	if c.Target == "" && !c.Drains {
		return errors.New("syslog: nothing to send to; set Target or Drains")
	}
	for name, d := range map[string]time.Duration{
		"DrainIdle": c.DrainIdle, "DialTimeout": c.DialTimeout, "WriteTimeout": c.WriteTimeout,
		"RetryWait": c.RetryWait, "MaxRetryWait": c.MaxRetryWait, "FlushTimeout": c.FlushTimeout,
	} {
		if d < 0 {
			return fmt.Errorf("syslog: %s is %v; give a positive duration, or 0 for the default", name, d)
		}
	}
	for name, n := range map[string]int{
		"MaxDrains": c.MaxDrains, "MaxText": c.MaxText, "QueueBytes": c.QueueBytes, "DrainBytes": c.DrainBytes,
	} {
		if n < 0 {
			return fmt.Errorf("syslog: %s is %d; give a positive number, or 0 for the default", name, n)
		}
	}
	return nil
}

// Syslog is an Emitter that sends lines to syslog receivers (RFC 5424), one that the operator names, and those that the
// app's services name. A receiver that cannot be reached is tried again and again; lines wait for it as far as there is
// room. What the system has taken for a connection that then breaks is lost.
type Syslog struct {
	cfg    SyslogConfig
	tally  tally
	target *drain                   // nil when there is none
	fresh  *mailbox.Mailbox[*drain] // to be started by Run

	mu      sync.Mutex        // also held while a line is put into the queue of a drain, so that none is put into one that ends
	drains  map[string]*drain // by the URL as it was given
	refused uint64            // lines for drains that there was no room for, not told in the log yet
	closed  bool
	running bool
}

// NewSyslog returns a Syslog, for which the caller calls Run. It fails with an ErrURL, or when the figures make no sense.
func NewSyslog(cfg SyslogConfig) (*Syslog, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Syslog{cfg: cfg.withDefaults(), fresh: mailbox.New[*drain](), drains: map[string]*drain{}}
	if s.cfg.Target != "" {
		t, err := parseTarget(s.cfg.Target)
		if err != nil {
			return nil, fmt.Errorf("syslog: Target: %w", err)
		}
		s.target = s.newDrain(t, s.cfg.QueueBytes, dialer(nil))
		s.fresh.Put(s.target)
	}
	return s, nil
}

// Emit implements Emitter. Lines wait until Run runs.
func (s *Syslog) Emit(line Line) {
	line = stamped(line)
	if s.target != nil {
		s.target.queue.put(line)
	}
	if !s.cfg.Drains || len(line.Drains) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	urls := line.Drains[:min(len(line.Drains), drainsOfLine)]
	for i, url := range urls {
		if slices.Contains(urls[:i], url) {
			continue
		}
		if d := s.drain(url); d != nil {
			d.queue.put(line)
		} else {
			s.refused++
			s.tally.lost.Add(1)
		}
	}
}

// Stats counts a line once for each receiver that it was meant for.
func (s *Syslog) Stats() Stats { return s.tally.stats() }

// Run sends lines until ctx ends, and then for a moment what still waits. It returns nil when everything that it started
// has ended. It can be called once.
func (s *Syslog) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.running
	s.running = true
	s.mu.Unlock()
	if again {
		return errors.New("syslog: Run was called before")
	}
	hard, cut := outlasting(ctx, s.cfg.FlushTimeout)
	defer cut()
	var senders sync.WaitGroup
	start := func() {
		for _, d := range s.fresh.Take() {
			senders.Go(func() { d.run(ctx, hard) })
		}
	}
	ticker := time.NewTicker(lossPause)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-s.fresh.Ready():
			start()
		case <-ticker.C:
			s.tellRefused()
		case <-ctx.Done():
		}
	}
	s.close()
	start()
	senders.Wait()
	s.tellRefused()
	return nil
}

func (s *Syslog) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, d := range s.drains {
		d.queue.close()
	}
	if s.target != nil {
		s.target.queue.close()
	}
}

func (s *Syslog) tellRefused() {
	s.mu.Lock()
	refused := s.refused
	s.refused = 0
	s.mu.Unlock()
	if refused > 0 {
		s.cfg.Logger.Warn("applog.drains.refused", "lost", refused, "most_drains", s.cfg.MaxDrains,
			"reason", "there are more drains than are served at once, or their URLs cannot be used")
	}
}
