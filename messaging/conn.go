package messaging

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Config tells how to connect. The zero Config connects to a server on this machine's default port.
type Config struct {
	// Servers are URLs of the form nats://[user:password@]host:port. Empty means nats://127.0.0.1:4222.
	Servers []string

	// Name is shown by the server's monitoring.
	Name string

	// User and Password apply where a URL has none; CredentialsFile names a JWT and key file instead.
	User, Password, CredentialsFile string

	// TLS, when set, is used for every server, with client certificates as it says.
	TLS *tls.Config

	// ReconnectWait is the pause between attempts (default 2 s), to which up to as much is added at random so that
	// a restarted server is not met by everyone at once.
	ReconnectWait time.Duration

	// ReconnectDelay, when set, tells the pause after so many failed attempts, in place of ReconnectWait.
	ReconnectDelay func(attempts int) time.Duration

	// PingInterval is how often the link is tested (default 30 s); it is given up after 2 unanswered pings.
	PingInterval time.Duration

	// WriteTimeout is how long a server may read nothing of what it is sent (default 10 s) before the link is given up. Whoever
	// publishes waits meanwhile, and so does the end of the connection.
	WriteTimeout time.Duration

	Logger *slog.Logger // nil discards
}

func (c Config) withDefaults() Config {
	if len(c.Servers) == 0 {
		c.Servers = []string{nats.DefaultURL}
	}
	if c.ReconnectWait == 0 {
		c.ReconnectWait = 2 * time.Second
	}
	if c.PingInterval == 0 {
		c.PingInterval = 30 * time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Connect opens a connection. When no server answers, it returns at once all the same and goes on trying for ever, with
// a pause between attempts; so a component can be started before its server. It fails only on a Config that cannot
// work. Names are resolved again at each attempt.
//
// Nothing is buffered while the link is down: publishing fails with ErrDisconnected, and no stale heartbeat reaches
// anyone later. Subscriptions come back by themselves. The caller ends the connection with [Drain].
func Connect(cfg Config) (*nats.Conn, error) {
	cfg = cfg.withDefaults()
	for _, server := range cfg.Servers {
		if err := CheckServer(server); err != nil {
			return nil, fmt.Errorf("NATS server: %w", err)
		}
	}
	log, link := cfg.Logger, &link{log: cfg.Logger, servers: hosts(cfg.Servers)}
	opts := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(cfg.ReconnectWait),
		nats.ReconnectJitter(cfg.ReconnectWait, cfg.ReconnectWait),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(cfg.PingInterval),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(cfg.WriteTimeout),
		nats.IgnoreAuthErrorAbort(), // credentials may be mended on the server
		nats.ConnectHandler(func(c *nats.Conn) { link.up("nats.connected", c.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { link.down(err) }),
		nats.ReconnectHandler(func(c *nats.Conn) { link.up("nats.reconnected", c.ConnectedUrlRedacted()) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { link.failed(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Error("nats.error", "subject", subject, "error", err)
		}),
	}
	if cfg.ReconnectDelay != nil {
		opts = append(opts, nats.CustomReconnectDelay(cfg.ReconnectDelay))
	}
	if cfg.User != "" {
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password))
	}
	if cfg.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(cfg.CredentialsFile))
	}
	if cfg.TLS != nil {
		opts = append(opts, nats.Secure(cfg.TLS))
	}
	options := nats.GetDefaultOptions()
	options.Servers = cfg.Servers
	for _, opt := range opts {
		if err := opt(&options); err != nil {
			return nil, fmt.Errorf("connect to NATS: %w", err)
		}
	}
	conn, err := options.Connect()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return conn, nil
}

// CheckServer fails on what cannot be the URL of a NATS server: Connect does then. The error has nothing of the URL, which may
// hold a password.
func CheckServer(server string) error {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
		return errors.New("a URL must have the form nats://[user:password@]host:port")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("the port of a URL must be a number from 1 to 65535")
		}
	}
	return nil
}

// Drain ends a connection: what was published is sent, what has arrived is handled, then the link is closed. It
// returns when that is done, or when ctx ends; then the link is cut.
func Drain(ctx context.Context, conn *nats.Conn) error {
	closed := make(chan struct{})
	conn.SetClosedHandler(func(*nats.Conn) { close(closed) })
	if conn.IsClosed() {
		return nil
	}
	if err := conn.Drain(); err != nil {
		conn.Close()
		if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionReconnecting) {
			return nil // no server to say good-bye to
		}
		return fmt.Errorf("drain NATS connection: %w", err)
	}
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		conn.Close()
		return fmt.Errorf("drain NATS connection: %w", context.Cause(ctx))
	}
}
