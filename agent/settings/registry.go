package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Registry is a BOSH registry: GET <endpoint>/instances/<id>/settings. Directors had one until 2022.
type Registry struct {
	Endpoint   string // http://user:password@host:25777; without a scheme it is http
	InstanceID string

	// Nameservers look the host of the endpoint up, since the machine itself has no resolver yet. They are addresses,
	// with or without a port. Without any the system does it.
	Nameservers []string

	Retry Retry
}

// Settings asks for them. They come as a string that holds JSON.
func (r Registry) Settings(ctx context.Context) (*Settings, error) {
	endpoint := r.Endpoint
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, errors.New("registry: invalid endpoint: give http://user:password@host:port") // not quoting it
	}
	if r.InstanceID == "" {
		return nil, errors.New("registry: the machine has no id there")
	}
	if err := r.resolve(ctx, u); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	data, err := r.Retry.request(ctx, http.MethodGet, u.JoinPath("instances", url.PathEscape(r.InstanceID), "settings").String(),
		map[string]string{"Accept": "application/json"}, 0)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	return parseRegistry(data)
}

func parseRegistry(data []byte) (*Settings, error) {
	var answer struct {
		Status   string  `json:"status"`
		Settings *string `json:"settings"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("registry: %w: settings must be a string that holds JSON", err)
	}
	if answer.Settings == nil {
		return nil, fmt.Errorf("registry: status %.40q and no settings", answer.Status)
	}
	s, err := Parse([]byte(*answer.Settings))
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	return s, nil
}

// PublicSSHKey is none.
func (Registry) PublicSSHKey(context.Context) (string, error) { return "", nil }

// resolve replaces the host by its first IPv4 address, or its first one.
func (r Registry) resolve(ctx context.Context, u *url.URL) error {
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || len(r.Nameservers) == 0 {
		return nil
	}
	var errs []error
	for _, server := range r.Nameservers {
		ip, err := lookUp(ctx, server, host)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if port := u.Port(); port != "" {
			u.Host = net.JoinHostPort(ip, port)
		} else if strings.Contains(ip, ":") {
			u.Host = "[" + ip + "]"
		} else {
			u.Host = ip
		}
		return nil
	}
	return fmt.Errorf("look up %s: %w", host, errors.Join(errs...))
}

func lookUp(ctx context.Context, server, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "53")
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server)
	}}
	addrs, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	for _, addr := range addrs {
		if addr.Unmap().Is4() {
			return addr.Unmap().String(), nil
		}
	}
	return addrs[0].String(), nil
}
