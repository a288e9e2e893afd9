package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/internal/atomicfile"
)

// openBus takes the transport that the settings name: HTTPS for https://, else NATS.
func (m *machine) openBus(context.Context) error {
	err := m.takeBus()
	if changed := m.update.Mbus; err != nil && (len(changed.URLs) > 0 || changed.Cert.CA != "") {
		return fmt.Errorf("the message bus (mbus) that a director has set: %w: mend mbus in %s, or remove it there to have that of the settings",
			err, m.loader.UpdateFile())
	}
	return err
}

func (m *machine) takeBus() error {
	urls := m.effective.MbusURLs
	if len(urls) == 0 || urls[0] == "" {
		return errors.New("neither the settings nor the command line name a message bus (mbus)")
	}
	m.place.AgentID = m.current.Load().AgentID
	if err := transport.CheckMbus(urls, nil); err != nil {
		return err
	}
	if !m.effective.Listens() {
		return m.openNATS(urls)
	}
	at, err := url.Parse(urls[0])
	if err != nil {
		return errors.New("mbus is no URL: it must be https://user:password@host:port") // the URL holds a password
	}
	return m.openHTTPS(at)
}

func (m *machine) certificates() *transport.Certificates {
	cert := m.effective.MbusCert
	if cert.CA == "" && cert.Certificate == "" {
		return nil
	}
	return &transport.Certificates{CA: cert.CA, Certificate: cert.Certificate, PrivateKey: cert.PrivateKey}
}

func (m *machine) openNATS(urls []string) (err error) {
	id := m.place.AgentID
	m.conn, err = transport.Connect(transport.ConnectConfig{Servers: urls, TLS: m.certificates(), Name: id, Logger: m.log})
	if err != nil {
		return err
	}
	m.place.Servers = transport.BusHosts(strings.Join(urls, ","))
	cfg := transport.NATSConfig{Conn: m.conn, AgentID: id, Keys: m.keys, Logger: m.log}
	if m.cfg.Legacy {
		cfg.Overflow = m.overflow
	}
	m.bus, err = transport.NewNATS(cfg)
	return err
}

// overflow puts a reply that is too long into the blob store, where directors of old look for it.
func (m *machine) overflow(ctx context.Context, reply []byte) (id string, err error) {
	id, _, err = m.blobs.Put(ctx, bytes.NewReader(reply))
	return id, err
}

func (m *machine) openHTTPS(at *url.URL) error {
	port := at.Port()
	if at.Hostname() == "" || port == "" {
		return errors.New("mbus must be https://user:password@host:port, with a port")
	}
	config, err := m.serverTLS(at.Hostname())
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Join(m.cfg.Base, "data", "blobs"))
	if err != nil {
		return err
	}
	m.blobRoot = root
	blobs, err := transport.NewDirBlobs(root)
	if err != nil {
		return err
	}
	if m.listener, err = net.Listen("tcp", net.JoinHostPort(at.Hostname(), port)); err != nil {
		return fmt.Errorf("the address of mbus: %w", err)
	}
	m.place.Address, m.place.Open = m.listener.Addr().String(), at.User == nil
	if m.place.Open {
		m.log.Warn("agent.open", "address", m.place.Address, "reason", "mbus has no user and password: whoever reaches it is let in",
			"remedy", "mbus as in https://user:password@host:port")
	}
	m.bus, err = transport.NewHTTPS(transport.HTTPSConfig{
		Listener: m.listener, TLS: config, User: at.User, Blobs: blobs, AgentID: m.place.AgentID, Keys: m.keys, Logger: m.log,
	})
	return err
}

// Where a certificate of the agent's own is, below the base directory.
const (
	ownCert = "bosh/agent.cert"
	ownKey  = "bosh/agent.key"
)

// serverTLS takes the certificate of the settings, or one that the agent makes once and keeps (Ruby agent).
func (m *machine) serverTLS(host string) (*tls.Config, error) {
	if c := m.certificates(); c != nil && c.Certificate != "" {
		return transport.ServerTLS(*c)
	}
	cert, key := filepath.Join(m.cfg.Base, ownCert), filepath.Join(m.cfg.Base, ownKey)
	certText, certErr := os.ReadFile(cert)
	keyText, keyErr := os.ReadFile(key)
	switch {
	case certErr == nil && keyErr == nil:
		config, err := transport.ServerTLS(transport.Certificates{Certificate: string(certText), PrivateKey: string(keyText)})
		if err != nil {
			return nil, fmt.Errorf("the certificate of the agent's own, %s and %s: remove both to have them made anew: %w", cert, key, err)
		}
		return config, nil
	case !errors.Is(keyErr, os.ErrNotExist):
		return nil, fmt.Errorf("a certificate of the agent's own needs both %s and %s: remove the one to have both made anew: %w", cert, key, errors.Join(certErr, keyErr))
	}
	made, err := transport.SelfSigned(host)
	if err != nil {
		return nil, err
	}
	// The key comes last: where it is, both are. One that was killed in between makes both again.
	if err := atomicfile.WriteFile(cert, []byte(made.Certificate), 0o644); err != nil {
		return nil, err
	}
	if err := atomicfile.WriteFile(key, []byte(made.PrivateKey), 0o600); err != nil {
		return nil, err
	}
	return transport.ServerTLS(made)
}
