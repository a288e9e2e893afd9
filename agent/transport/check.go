package transport

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/deakit/deakit/messaging"
)

// CheckMbus refuses a message bus with which an agent could not begin: URLs (or lists of them with commas between) that name no
// server or are not of one kind, an https:// URL without a port, and certificates that cannot be used. Nil certificates are none. No
// server is asked. What URLs and keys say does not get into the error: they hold secrets.
func CheckMbus(urls []string, certs *Certificates) error {
	servers, err := parseBus(urls)
	if err != nil {
		return err
	}
	listens := servers[0].Scheme == "https"
	for _, at := range servers {
		if (at.Scheme == "https") != listens {
			return errors.New("a message bus (mbus) is either https:// or servers of NATS")
		}
	}
	switch {
	case listens && servers[0].Port() == "":
		return errors.New("mbus must be https://user:password@host:port, with a port")
	case certs == nil:
		return nil
	case listens:
		return checkServerTLS(*certs)
	}
	_, err = natsTLS(*certs, nil)
	return err
}

// checkServerTLS is about the certificates of an agent on HTTPS. Without one it makes its own.
func checkServerTLS(c Certificates) error {
	if c.CA != "" {
		if _, err := c.authorities(); err != nil {
			return err
		}
	}
	if c.Certificate == "" && c.PrivateKey == "" {
		return nil
	}
	_, err := ServerTLS(c)
	return err
}

// CheckBus refuses a message bus (mbus) that is neither NATS, nats:// or tls://, nor https://. It may be a list of servers with commas
// between. What it is does not get into the error: it may hold a password.
func CheckBus(mbus string) error {
	_, err := parseBus([]string{mbus})
	return err
}

// parseBus reads the URLs of a message bus, of which each may be a list. All that looks at them does so here: what one lets through
// must not make another fail.
func parseBus(lists []string) ([]*url.URL, error) {
	var servers []*url.URL
	for _, list := range lists {
		for server := range strings.SplitSeq(list, ",") {
			at, err := parseServer(strings.TrimSpace(server))
			if err != nil {
				return nil, err
			}
			servers = append(servers, at)
		}
	}
	if len(servers) == 0 {
		return nil, errors.New("no message bus is named (mbus)")
	}
	return servers, nil
}

// parseServer reads the URL of one server.
func parseServer(text string) (*url.URL, error) {
	at, err := url.Parse(text)
	if err != nil || at.Hostname() == "" {
		return nil, errors.New("message bus (mbus): want nats://user:password@host:port or https://user:password@host:port")
	}
	switch at.Scheme {
	case "https":
		if _, err := strconv.ParseUint(at.Port(), 10, 16); at.Port() != "" && err != nil {
			return nil, errors.New("message bus (mbus): the port of a URL must be a number up to 65535")
		}
	case "nats", "tls":
		if err := messaging.CheckServer(text); err != nil {
			return nil, fmt.Errorf("message bus (mbus): %w", err)
		}
	default:
		return nil, fmt.Errorf("message bus (mbus) with the scheme %.20q: want nats://, tls:// or https://", at.Scheme)
	}
	return at, nil
}
