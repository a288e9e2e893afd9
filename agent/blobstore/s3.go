package blobstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxS3 is what one PUT may hold. Larger blobs would have to be sent in parts.
const maxS3 = 5 << 30

// S3Config says where a bucket is.
type S3Config struct {
	Endpoint        string // of the service; default https://s3.amazonaws.com
	Region          string // default us-east-1
	Bucket          string
	Folder          string // before the id, with a '/'; default none
	AccessKeyID     string // empty for a bucket that anybody may read, and nobody write
	SecretAccessKey string
	SessionToken    string // of temporary credentials; empty for none

	// VirtualHost puts the bucket into the host name, as Amazon wants it, and not into the path, which works with all
	// that speak like S3.
	VirtualHost bool

	HTTP *http.Client // default NewHTTPClient(HTTPOptions{})
}

// S3 keeps blobs as objects of a bucket, each in one request of 5 GiB at most. Requests are signed with version 4 of
// Amazon's signature, the content included.
type S3 struct {
	base   *url.URL
	signer *signer // nil for a bucket that is only read
	client *http.Client
}

// NewS3 checks the configuration; it connects to nothing.
func NewS3(cfg S3Config) (*S3, error) {
	if cfg.Bucket == "" || strings.ContainsAny(cfg.Bucket, "/?#") {
		return nil, errors.New("blobstore: give the bucket_name of S3")
	}
	u, _, client, err := endpoint(cmp.Or(cfg.Endpoint, "https://s3.amazonaws.com"), "", "", cfg.HTTP)
	if err != nil {
		return nil, err
	}
	if cfg.VirtualHost {
		u.Host = cfg.Bucket + "." + u.Host
	} else {
		u = u.JoinPath(cfg.Bucket)
	}
	if cfg.Folder != "" {
		u = u.JoinPath(cfg.Folder)
	}
	s := &S3{base: u, client: client}
	if (cfg.AccessKeyID == "") != (cfg.SecretAccessKey == "") {
		return nil, errors.New("blobstore: give both access_key_id and secret_access_key, or neither")
	}
	if cfg.AccessKeyID != "" {
		s.signer = &signer{cfg.AccessKeyID, cfg.SecretAccessKey, cfg.SessionToken, cmp.Or(cfg.Region, "us-east-1"), "s3"}
	}
	return s, nil
}

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func (s *S3) call(ctx context.Context, id, hash string, c call) error {
	if err := CheckID(id); err != nil {
		return err
	}
	c.url = s.base.JoinPath(id).String()
	if s.signer != nil {
		c.sign = func(req *http.Request) { s.signer.sign(req, hash, time.Now()) }
	}
	if err := do(ctx, s.client, c); err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	return nil
}

// Get expects 200.
func (s *S3) Get(ctx context.Context, id string, w io.Writer) error {
	return s.call(ctx, id, emptyHash, call{op: "fetch", method: http.MethodGet, want: []int{http.StatusOK}, dst: w})
}

// Put reads r twice, once for its digest.
func (s *S3) Put(ctx context.Context, id string, r io.ReadSeeker) error {
	if s.signer == nil {
		return fmt.Errorf("store blob %s: %w", id, ErrReadOnly)
	}
	size, err := rewind(r)
	if err == nil && size > maxS3 {
		err = fmt.Errorf("%d bytes, S3 takes %d at once: %w", size, int64(maxS3), ErrTooLarge)
	}
	hash := sha256.New()
	if err == nil {
		_, err = io.Copy(hash, reader{ctx, r})
	}
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	return s.call(ctx, id, hex.EncodeToString(hash.Sum(nil)), call{op: "create", method: http.MethodPut, body: r, size: size})
}

// Delete expects 204.
func (s *S3) Delete(ctx context.Context, id string) error {
	if s.signer == nil {
		return fmt.Errorf("delete blob %s: %w", id, ErrReadOnly)
	}
	return s.call(ctx, id, emptyHash, call{op: "delete", method: http.MethodDelete,
		want: []int{http.StatusNoContent, http.StatusOK, http.StatusNotFound}})
}

// Exists asks with HEAD.
func (s *S3) Exists(ctx context.Context, id string) (bool, error) {
	return found(s.call(ctx, id, emptyHash, call{op: "find", method: http.MethodHead, want: []int{http.StatusOK}}))
}
