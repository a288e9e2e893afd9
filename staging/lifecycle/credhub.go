package lifecycle

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	credHubTimeout = 30 * time.Second // of one attempt
	maxServices    = 8 << 20          // bytes of VCAP_SERVICES as CredHub answers them
)

// interpolate has CredHub replace the references in VCAP_SERVICES by the secrets that they stand for. The client is known by
// the certificate of the instance. uri comes from the platform and has no secrets; what is posted and answered is in no
// error text.
func (e *environ) interpolate(ctx context.Context, uri string, opts CredHubOptions, stdout io.Writer) error {
	services := e.get("VCAP_SERVICES")
	if e.get("CREDHUB_SKIP_INTERPOLATION") != "" || !strings.Contains(services, `"credhub-ref"`) {
		return nil
	}
	client, err := e.credHubClient()
	if err != nil {
		return fmt.Errorf("Unable to set up credhub client: %w", err)
	}
	defer client.CloseIdleConnections()
	for attempt := 1; ; attempt++ {
		resolved, err := post(ctx, client, uri, services)
		if err == nil {
			e.set("VCAP_SERVICES", resolved)
			return nil
		}
		attempts := max(opts.Attempts, 1)
		fmt.Fprintf(stdout, "Failed on attempt %d out of %d: Unable to interpolate credhub references: %v\n", attempt, attempts, err)
		if attempt == attempts {
			return fmt.Errorf("Unable to interpolate credhub references: %w", err)
		}
		select {
		case <-time.After(opts.Delay):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func post(ctx context.Context, client *http.Client, uri, services string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", errors.New("credhub-uri of VCAP_PLATFORM_OPTIONS is no https URL")
	}
	ctx, cancel := context.WithTimeout(ctx, credHubTimeout)
	defer cancel()
	api := u.JoinPath("api/v1/interpolate").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api, strings.NewReader(services))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("CredHub answered with status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxServices+1))
	switch {
	case err != nil:
		return "", err
	case len(body) > maxServices:
		return "", fmt.Errorf("CredHub answered with more than %d bytes", maxServices)
	case !json.Valid(body):
		return "", errors.New("CredHub answered with something else than JSON")
	}
	return string(bytes.TrimSpace(body)), nil
}

// credHubClient returns a client with the certificate of the instance, which trusts the authorities of the platform.
func (e *environ) credHubClient() (*http.Client, error) {
	certFile, keyFile, authorities := e.get("CF_INSTANCE_CERT"), e.get("CF_INSTANCE_KEY"), e.get("CF_SYSTEM_CERT_PATH")
	if certFile == "" || keyFile == "" {
		return nil, errors.New("Missing CF_INSTANCE_CERT and/or CF_INSTANCE_KEY")
	}
	if authorities == "" {
		return nil, errors.New("Missing CF_SYSTEM_CERT_PATH")
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate of the instance: %w", err)
	}
	pool, err := loadAuthorities(authorities)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: pool, MinVersion: tls.VersionTLS12},
		},
		// Whatever stands elsewhere is not the CredHub of the platform.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// loadAuthorities reads all *.crt files of a directory.
func loadAuthorities(dir string) (*x509.CertPool, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("Can't read contents of system cert path: %w", err)
	}
	pool := x509.NewCertPool()
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".crt") {
			continue
		}
		pem, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return nil, fmt.Errorf("Can't read contents of cert in system cert path: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s in the system cert path holds no certificate in PEM form", file.Name())
		}
	}
	return pool, nil
}
