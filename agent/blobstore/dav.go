package blobstore

import (
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"net/http"
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
type DAV struct{ plain }

// NewDAV checks the configuration; it connects to nothing.
func NewDAV(cfg DAVConfig) (*DAV, error) {
	u, auth, client, err := endpoint(cfg.Endpoint, cfg.User, cfg.Password, cfg.HTTP)
	if err != nil {
		return nil, err
	}
	return &DAV{plain{u, davPath, auth, client}}, nil
}

// davPath is the path of a blob below the endpoint.
func davPath(id string) string { return fmt.Sprintf("%.1x/%s", sha1.Sum([]byte(id)), id) }

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
