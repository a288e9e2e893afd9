package transport

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// CheckMbus refuses a message bus with which an agent could not begin: URLs (or lists of them with commas between) that name no
// server or are not of one kind, an https:// URL without a port, and certificates that cannot be used. Nil certificates are none. No
// server is asked. What URLs and keys say does not get into the error: they hold secrets.
func CheckMbus(urls []string, certs *Certificates) error {
	var servers []*url.URL
	for _, list := range urls {
		if err := CheckBus(list); err != nil {
			return err
		}
		for server := range strings.SplitSeq(list, ",") {
			at, err := parseServer(strings.TrimSpace(server))
			if err != nil {
				return err
			}
			servers = append(servers, at)
		}
	}
	if len(servers) == 0 {
		return errors.New("no message bus is named (mbus)")
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
	case certs == nil, listens && certs.Certificate == "": // then it makes its own
		return nil
	case listens:
		_, err := ServerTLS(*certs)
		return err
	}
	_, err := natsTLS(*certs, nil)
	return err
}

// parseServer reads the URL of one server; of NATS it may be host:port alone.
func parseServer(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	at, err := url.Parse(text)
	if err != nil || at.Hostname() == "" {
		return nil, fmt.Errorf("message bus (mbus): want nats://user:password@host:port or https://user:password@host:port")
	}
	return at, nil
}
