package lifecycle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// HealthCheckConfig is what [Check] is told.
type HealthCheckConfig struct {
	Network string        // "tcp"
	URI     string        // path that is asked for by HTTP; empty means that a connection will do
	Port    string        // 8080
	Timeout time.Duration // of each address; 1 s

	// Addresses to ask; nil means the IPv4 addresses of this machine or container but those of loopback.
	Addresses []string
}

// HealthCheck is the program healthcheck: [Check] with flags network, uri, port and timeout. It says "healthcheck passed" or
// "healthcheck failed", and fails with an [*ExitError] that says why.
func HealthCheck(ctx context.Context, p Process) error {
	p = p.withDefaults("healthcheck")
	cfg := HealthCheckConfig{}
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.StringVar(&cfg.Network, "network", "tcp", "network of the connection")
	flags.StringVar(&cfg.URI, "uri", "", "path to ask for by HTTP; without it, a connection is enough")
	flags.StringVar(&cfg.Port, "port", "8080", "port to connect to")
	flags.DurationVar(&cfg.Timeout, "timeout", time.Second, "how long to wait for each address")
	if err := p.parse(flags, p.Args); err != nil {
		return err
	}
	if err := Check(ctx, cfg); err != nil {
		fmt.Fprintln(p.Stdout, "healthcheck failed")
		return &ExitError{ExitFailed, err}
	}
	fmt.Fprintln(p.Stdout, "healthcheck passed")
	return nil
}

// Check asks the addresses in turn, until one takes a connection or, where a URI is given, answers with status 200.
func Check(ctx context.Context, cfg HealthCheckConfig) error {
	addresses := cfg.Addresses
	if addresses == nil {
		var err error
		if addresses, err = ownAddresses(); err != nil {
			return err
		}
	}
	failed := errors.New("there is no address but loopback to ask")
	for _, address := range addresses {
		if failed = check(ctx, cfg, net.JoinHostPort(address, cfg.Port)); failed == nil {
			return nil
		}
	}
	return failed
}

func ownAddresses() ([]string, error) {
	found, err := net.InterfaceAddrs()
	var own []string
	for _, address := range found {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && !network.IP.IsLoopback() {
			own = append(own, network.IP.String())
		}
	}
	return own, err
}

func check(ctx context.Context, cfg HealthCheckConfig, address string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, fmt.Errorf("%s did not answer within %v", address, cfg.Timeout))
	defer cancel()
	var err error
	if cfg.URI == "" {
		var conn net.Conn
		conn, err = (&net.Dialer{}).DialContext(ctx, cfg.Network, address)
		if err == nil {
			err = conn.Close()
		}
	} else {
		err = get(ctx, cfg, address)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

func get(ctx context.Context, cfg HealthCheckConfig, address string) error {
	u, err := url.Parse("http://" + address + "/" + strings.TrimPrefix(cfg.URI, "/"))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, cfg.Network, address)
	}}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered with status %d", u, resp.StatusCode)
	}
	return nil
}
