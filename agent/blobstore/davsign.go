package blobstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A DAVSigner makes URLs by which a blob of a WebDAV store can be read or written for some time without credentials
// (davcli).
type DAVSigner struct {
	endpoint *url.URL
	secret   []byte
}

// NewDAVSigner signs for the store at an endpoint with the secret that its server has.
func NewDAVSigner(endpoint, secret string) (*DAVSigner, error) {
	u, _, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	if secret == "" {
		return nil, errors.New("blobstore: to sign URLs, give the secret of the blobstore")
	}
	return &DAVSigner{u, []byte(secret)}, nil
}

// URL is good for one method, GET or PUT, from now on for so long, which counts in whole seconds.
func (s *DAVSigner) URL(method, id string, now time.Time, lifetime time.Duration) (string, error) {
	if err := CheckID(id); err != nil {
		return "", err
	}
	if method != http.MethodGet && method != http.MethodPut {
		return "", fmt.Errorf("blobstore: cannot sign for %s, only for GET and PUT", method)
	}
	at, seconds := strconv.FormatInt(now.Unix(), 10), strconv.FormatInt(int64(lifetime/time.Second), 10)
	u := s.endpoint.JoinPath("signed", davPath(id))
	u.RawQuery = url.Values{"st": {s.signature(method, davPath(id), at, seconds)}, "ts": {at}, "e": {seconds}}.Encode()
	return u.String(), nil
}

// Errors of [DAVSigner.Verify].
var (
	ErrSignature = errors.New("signature is wrong")
	ErrExpired   = errors.New("signature has expired")
)

// Verify checks a request for a signed URL, for whoever serves a store; the path of the blob is what follows
// "/signed/".
func (s *DAVSigner) Verify(method, blobPath string, query url.Values, now time.Time) error {
	at, seconds := query.Get("ts"), query.Get("e")
	want := s.signature(method, blobPath, at, seconds)
	if !hmac.Equal([]byte(want), []byte(query.Get("st"))) {
		return ErrSignature
	}
	from, err1 := strconv.ParseInt(at, 10, 64)
	lasts, err2 := strconv.ParseInt(seconds, 10, 64)
	if err1 != nil || err2 != nil || now.Unix() > from+lasts {
		return ErrExpired
	}
	return nil
}

func (s *DAVSigner) signature(method, path, at, seconds string) string {
	mac := hmac.New(sha256.New, s.secret)
	_, _ = io.WriteString(mac, method+path+at+seconds)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
