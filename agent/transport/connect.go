package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// Certificates are the PEM texts of mbus.cert, as the settings have them.
type Certificates struct {
	CA          string // authorities of the server; with NATS required
	Certificate string // of the agent, with those between it and the authority
	PrivateKey  string
}

// pair reads certificate and key. Nothing of the key is in an error.
func (c Certificates) pair() (tls.Certificate, error) {
	return tls.X509KeyPair([]byte(c.Certificate), []byte(c.PrivateKey))
}

// ConnectConfig tells how an agent connects to the director's NATS.
type ConnectConfig struct {
	Servers []string      // URLs, or lists of URLs with commas between, as mbus may be; tried in random order; user info in them is used
	TLS     *Certificates // nil: no TLS
	Name    string        // shown by the server's monitoring: the agent's id
	Logger  *slog.Logger  // nil discards
}

// CheckBus refuses a message bus (mbus) that is neither NATS, nats:// or tls:// or host:port, nor https://. It may be a list of
// servers with commas between. What it is does not get into the error: it may hold a password.
func CheckBus(mbus string) error {
	for server := range strings.SplitSeq(mbus, ",") {
		scheme, _, given := strings.Cut(strings.TrimSpace(server), "://")
		switch strings.ToLower(scheme) {
		case "nats", "tls", "https":
		default:
			if given {
				return fmt.Errorf("message bus with the scheme %.20q: want nats://, tls:// or https://", scheme)
			}
		}
	}
	return nil
}

// BusHosts are host and port of the servers of a message bus, without user info, for people to read.
func BusHosts(mbus string) string {
	var hosts []string
	for server := range strings.SplitSeq(mbus, ",") {
		if u, err := url.Parse(strings.TrimSpace(server)); err == nil {
			hosts = append(hosts, u.Host)
		}
	}
	return strings.Join(hosts, ", ")
}

// Connect gives a connection that comes back for ever, as [messaging.Connect] does; the pauses grow from 2 s to 10 s. With
// TLS (1.2 or later) the agent shows its certificate, and the server's must be of a name "*.nats.bosh-internal" besides being
// valid. It fails only on a configuration that cannot work.
func Connect(cfg ConnectConfig) (*nats.Conn, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	// A server that is there but cannot be talked to, over TLS for example, is in no callback of the library.
	var made atomic.Pointer[nats.Conn]
	delay := func(attempts int) time.Duration {
		if conn := made.Load(); conn != nil && conn.LastError() != nil {
			cfg.Logger.Warn("nats.refused", "error", conn.LastError())
		}
		return reconnectDelay(attempts)
	}
	var servers []string
	for _, list := range cfg.Servers {
		for server := range strings.SplitSeq(list, ",") {
			servers = append(servers, strings.TrimSpace(server))
		}
	}
	for _, server := range servers {
		if err := CheckBus(server); err != nil {
			return nil, err
		}
		if strings.HasPrefix(strings.ToLower(server), "https://") {
			return nil, errors.New("connect to NATS: the URL of a server is https://, want nats:// or tls://")
		}
	}
	conf := messaging.Config{Servers: servers, Name: cfg.Name, Logger: cfg.Logger, ReconnectDelay: delay}
	if cfg.TLS != nil {
		var err error
		if conf.TLS, err = natsTLS(*cfg.TLS, cfg.Logger); err != nil {
			return nil, err
		}
	}
	conn, err := messaging.Connect(conf)
	made.Store(conn)
	return conn, err
}

// reconnectDelay is the pause after this many attempts that failed.
func reconnectDelay(attempts int) time.Duration {
	return min(time.Duration(max(attempts, 1))*2*time.Second, 10*time.Second)
}

func natsTLS(c Certificates, log *slog.Logger) (*tls.Config, error) {
	pair, err := c.pair()
	if err != nil {
		return nil, fmt.Errorf("Parsing certificate and private key: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, errors.New("Parsing CA certificate: mbus.cert.ca holds no certificate in PEM form")
	}
	verify := func(state tls.ConnectionState) error {
		err := verifyName(state)
		if err != nil {
			log.Error("nats.impostor", "server", state.ServerName, "error", err)
		}
		return err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}, VerifyConnection: verify,
	}, nil
}

// serverName is the pattern of bosh-agent.
var serverName = regexp.MustCompile(`^[a-zA-Z0-9*\-]*\.nats\.bosh-internal$`)

// verifyName checks the leaf only, and besides what TLS verifies.
func verifyName(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 || !serverName.MatchString(state.PeerCertificates[0].Subject.CommonName) {
		return errors.New("server Certificate CommonName does not match *.nats.bosh-internal")
	}
	return nil
}
