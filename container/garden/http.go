package garden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// A client sends requests.
type client struct {
	network, address string
	timeout          time.Duration
	http             *http.Client
}

func newClient(o Options) *client {
	c := &client{network: o.Network, address: o.Address, timeout: o.Timeout}
	transport := &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
	c.http = &http.Client{Transport: transport}
	return c
}

func (c *client) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return (&net.Dialer{}).DialContext(ctx, c.network, c.address)
}

func (c *client) close() { c.http.CloseIdleConnections() }

// path joins the parts of the path of a route, each escaped.
func path(parts ...string) string {
	var b bytes.Buffer
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// newRequest makes a request. The host is a name only: the server does not look at it.
func newRequest(ctx context.Context, method, route string, query url.Values, body any) (*http.Request, error) {
	content, kind := io.Reader(nil), "application/json"
	switch b := body.(type) {
	case nil:
	case io.Reader:
		content, kind = b, "application/x-tar"
	default:
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://garden"+route, content)
	if err != nil {
		return nil, err
	}
	request.URL.RawQuery = query.Encode()
	if content != nil {
		request.Header.Set("Content-Type", kind)
	}
	return request, nil
}

// open sends a request and returns the answer, whose body the caller closes.
func (c *client) open(ctx context.Context, method, route string, query url.Values, body any) (*http.Response, error) {
	request, err := newRequest(ctx, method, route, query, body)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, broken(ctx, err)
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		return nil, readError(response)
	}
	return response, nil
}

// maxAnswer bounds an answer that is JSON.
const maxAnswer = 64 << 20

// do sends a request and reads the answer into answer, if that is not nil.
func (c *client) do(ctx context.Context, method, route string, body, answer any) error {
	response, err := c.open(ctx, method, route, nil, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConnection, err)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("answer to %s %s: %w", method, route, err)
	}
	return nil
}

// quick is do for a request that is answered at once.
func (c *client) quick(ctx context.Context, method, route string, body, answer any) error {
	bounded, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := c.do(bounded, method, route, body, answer)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		err = fmt.Errorf("%w: no answer within %v", ErrConnection, c.timeout)
	}
	return err
}
