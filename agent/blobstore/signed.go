package blobstore

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/deakit/deakit/agent/digest"
)

// GetSigned fetches what a signed URL gives access to. The headers are the blobstore_headers of the request; any status
// of 2xx is success. The URL is in no error.
func (c *Client) GetSigned(ctx context.Context, url string, headers map[string]string, want digest.Digest) (*File, error) {
	return c.try(ctx, c.cfg.SignedDelay, func() (*File, error) {
		return c.fetch(want, func(w io.Writer) error {
			err := do(ctx, c.cfg.HTTP, call{op: "fetch", method: http.MethodGet, url: url, header: header(headers), dst: w})
			if err != nil {
				return fmt.Errorf("signed URL: %w", err)
			}
			return nil
		})
	})
}

// PutSigned uploads r, from its start, to a signed URL, once, and returns its SHA-1 and SHA-512.
func (c *Client) PutSigned(ctx context.Context, url string, headers map[string]string, r io.ReadSeeker) (digest.Digest, error) {
	d, err := c.digest(ctx, r, digest.SHA1, digest.SHA512)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("upload to signed URL: %w", err)
	}
	size, err := rewind(r)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("upload to signed URL: %w", err)
	}
	h := header(headers)
	// As the original sends it: a server that refuses does so before it is sent the blob.
	h.Set("Accept", "*/*")
	h.Set("Expect", "100-continue")
	err = do(ctx, c.cfg.HTTP, call{op: "create", method: http.MethodPut, url: url, header: h, body: r, size: size})
	if err != nil {
		return digest.Digest{}, fmt.Errorf("upload to signed URL: %w", err)
	}
	return d, nil
}

func header(values map[string]string) http.Header {
	h := http.Header{}
	for name, value := range values {
		h.Set(name, value)
	}
	return h
}
