package blobstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
)

// SimpleConfig says where a simple blobstore server is.
type SimpleConfig struct {
	Endpoint string // http(s)://host:port; user info in it stands for User and Password
	Bucket   string // default "resources"
	User     string // for basic authentication; empty for none
	Password string
	HTTP     *http.Client // default NewHTTPClient(HTTPOptions{})
}

// Simple speaks to the simple blobstore server (simple_blobstore_server). That server replaces no blob: a Put to an id
// that is in use fails with [ErrExists].
type Simple struct{ plain }

// NewSimple checks the configuration; it connects to nothing.
func NewSimple(cfg SimpleConfig) (*Simple, error) {
	bucket := cmp.Or(cfg.Bucket, "resources")
	if err := CheckID(bucket); err != nil {
		return nil, fmt.Errorf("blobstore: invalid bucket %q", bucket)
	}
	u, auth, client, err := endpoint(cfg.Endpoint, cfg.User, cfg.Password, cfg.HTTP)
	if err != nil {
		return nil, err
	}
	return &Simple{plain{u.JoinPath(bucket), func(id string) string { return id }, auth, client}}, nil
}

// Put posts a form whose field "content" is the blob.
func (s *Simple) Put(ctx context.Context, id string, r io.ReadSeeker) error {
	size, err := rewind(r)
	if err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	if _, err := form.CreateFormFile("content", id); err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	tail := "\r\n--" + form.Boundary() + "--\r\n"
	err = s.call(ctx, id, call{
		op: "create", method: http.MethodPost, want: []int{http.StatusOK},
		header: http.Header{"Content-Type": {form.FormDataContentType()}},
		size:   int64(head.Len()) + size + int64(len(tail)),
		body:   io.MultiReader(&head, r, bytes.NewBufferString(tail)),
	})
	if status := (*StatusError)(nil); errors.As(err, &status) && status.Status == http.StatusConflict {
		return fmt.Errorf("store blob %s: %w", id, ErrExists)
	}
	return err
}

// Delete expects 204, or 404.
func (s *Simple) Delete(ctx context.Context, id string) error {
	return s.call(ctx, id, call{op: "delete", method: http.MethodDelete,
		want: []int{http.StatusNoContent, http.StatusNotFound}})
}
