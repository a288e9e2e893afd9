package blobstore

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// DAVConfig says where a WebDAV store is.
type DAVConfig struct {
	Endpoint string // http(s)://host:port; user info in it stands for User and Password
	User     string // for basic authentication; empty for none
	Password string
	HTTP     *http.Client // default NewHTTPClient(HTTPOptions{})
}

// DAV is the blobstore that directors run. A blob's path is made of the first two hexadecimal digits of the SHA-1 of
// its id and the id (dav_client, davcli).
type DAV struct {
	endpoint *url.URL
	auth     func(*http.Request)
	client   *http.Client
}

// NewDAV checks the configuration; it connects to nothing.
func NewDAV(cfg DAVConfig) (*DAV, error) {
	u, auth, client, err := endpoint(cfg.Endpoint, cfg.User, cfg.Password, cfg.HTTP)
	if err != nil {
		return nil, err
	}
	return &DAV{u, auth, client}, nil
}

// endpoint prepares what the stores over HTTP have in common.
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

// davPath is the path of a blob below the endpoint.
func davPath(id string) string { return fmt.Sprintf("%.1x/%s", sha1.Sum([]byte(id)), id) }

func (d *DAV) call(ctx context.Context, id string, c call) error {
	if err := CheckID(id); err != nil {
		return err
	}
	c.url, c.sign = d.endpoint.JoinPath(davPath(id)).String(), d.auth
	if err := do(ctx, d.client, c); err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	return nil
}

// Get expects 200.
func (d *DAV) Get(ctx context.Context, id string, w io.Writer) error {
	return d.call(ctx, id, call{op: "fetch", method: http.MethodGet, want: []int{http.StatusOK}, dst: w})
}

// Put expects 201 or 204.
func (d *DAV) Put(ctx context.Context, id string, r io.ReadSeeker) error {
	size, err := rewind(r)
	if err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	return d.call(ctx, id, call{op: "create", method: http.MethodPut, body: r, size: size,
		want: []int{http.StatusCreated, http.StatusNoContent}})
}

// Delete expects 204, or 404.
func (d *DAV) Delete(ctx context.Context, id string) error {
	return d.call(ctx, id, call{op: "delete", method: http.MethodDelete,
		want: []int{http.StatusNoContent, http.StatusNotFound, http.StatusOK}})
}

// Exists asks with HEAD.
func (d *DAV) Exists(ctx context.Context, id string) (bool, error) {
	return found(d.call(ctx, id, call{op: "find", method: http.MethodHead, want: []int{http.StatusOK}}))
}

// found turns the outcome of a question for a blob into its answer.
func found(err error) (bool, error) {
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
