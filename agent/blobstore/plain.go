package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// A plain store is one over HTTP with basic authentication, where a blob is what GET answers.
type plain struct {
	base   *url.URL // of paths
	path   func(id string) string
	auth   func(*http.Request)
	client *http.Client
}

// endpoint prepares what the stores over HTTP have in common. User and password are those in the URL where user is empty.
func endpoint(raw, user, password string, client *http.Client) (*url.URL, func(*http.Request), *http.Client, error) {
	u, info, err := parseEndpoint(raw)
	if err != nil {
		return nil, nil, nil, err
	}
	if user == "" && info != nil {
		user = info.Username()
		password, _ = info.Password()
	}
	if client == nil {
		if client, err = NewHTTPClient(HTTPOptions{}); err != nil {
			return nil, nil, nil, err
		}
	}
	auth := func(req *http.Request) {
		if user != "" {
			req.SetBasicAuth(user, password)
		}
	}
	return u, auth, client, nil
}

func (p *plain) call(ctx context.Context, id string, c call) error {
	if err := CheckID(id); err != nil {
		return err
	}
	c.url, c.sign = p.base.JoinPath(p.path(id)).String(), p.auth
	if err := do(ctx, p.client, c); err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	return nil
}

// Get expects 200.
func (p *plain) Get(ctx context.Context, id string, w io.Writer) error {
	return p.call(ctx, id, call{op: "fetch", method: http.MethodGet, want: []int{http.StatusOK}, dst: w})
}

// Exists asks with HEAD.
func (p *plain) Exists(ctx context.Context, id string) (bool, error) {
	return found(p.call(ctx, id, call{op: "find", method: http.MethodHead, want: []int{http.StatusOK}}))
}

// found turns the outcome of a question for a blob into its answer.
func found(err error) (bool, error) {
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
