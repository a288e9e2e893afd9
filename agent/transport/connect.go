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

// authorities reads the CA.
func (c Certificates) authorities() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, errors.New("Parsing CA certificate: mbus.cert.ca holds no certificate in PEM form")
	}
	return pool, nil
}

// ConnectConfig tells how an agent connects to the director's NATS.
type ConnectConfig struct {
	Servers []string      // URLs, or lists of URLs with commas between, as mbus may be; tried in random order; user info in them is used; default that of this machine
	TLS     *Certificates // nil: no TLS
	Name    string        // shown by the server's monitoring: the agent's id
	Logger  *slog.Logger  // nil discards
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
	var urls []*url.URL
	var servers []string
	var err error
	if len(cfg.Servers) > 0 {
		if urls, err = parseBus(cfg.Servers); err != nil {
			return nil, err
		}
	}
	for _, at := range urls {
		if at.Scheme == "https" {
			return nil, errors.New("connect to NATS: the URL of a server is https://, want nats:// or tls://")
		}
		servers = append(servers, at.String())
	}
	conf := messaging.Config{Servers: servers, Name: cfg.Name, Logger: cfg.Logger, ReconnectDelay: delay}
	if cfg.TLS != nil {
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
	pool, err := c.authorities()
	if err != nil {
		return nil, err
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
