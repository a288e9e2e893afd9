package dea

import (
	"crypto/tls"
	"fmt"
	"log/slog"

	"github.com/deakit/deakit/internal/tlsfiles"
)

// TLSFiles names PEM files for the HTTPS interface. They are looked at when a client connects, and read again when they
// have changed.
type TLSFiles struct {
	KeyFile, CertFile string // of the DEA; required

	// CAFile holds the authorities that issue the certificates of clients. Without it a certificate is asked for and
	// any is taken, also none (dea_ng): the network alone decides then who can run programs here.
	CAFile string
}

// ServerTLS returns what an http.Server needs to serve [DEA.Handler]. It fails with an fs.ErrNotExist, among others, when
// files are missing, and names them. A nil logger discards.
func ServerTLS(files TLSFiles, log *slog.Logger) (*tls.Config, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	source, err := tlsfiles.Open(tlsfiles.Files{Key: files.KeyFile, Cert: files.CertFile, CA: files.CAFile}, log)
	if err != nil {
		return nil, fmt.Errorf("dea: Invalid SSL Certs: %w", err)
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		ClientAuth: tls.RequestClientCert,
		// Sessions would outlive the authorities under which they began.
		SessionTicketsDisabled: true,
	}
	if files.CAFile != "" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now, current := source.Current(), config.Clone()
		current.GetConfigForClient = nil
		current.Certificates, current.ClientCAs = []tls.Certificate{now.Certificate}, now.CA
		return current, nil
	}
	return config, nil
}
