package directory

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SignerConfig sets up a Signer. The zero value draws a random key, so that URLs die with the process.
type SignerConfig struct {
	// Keys are secret texts; their bytes are the key as they stand, also where they look like hex digits (dea_ng). The
	// first signs, all verify: put a new key in front, and drop the old one when its last URL has expired. Default:
	// one key from NewToken.
	Keys []string

	// MaxAge is how long a URL is valid, counted in whole seconds; default 3600 s (dea_ng).
	MaxAge time.Duration

	// Now tells the time; default time.Now.
	Now func() time.Time
}

// A Signer makes and checks signed URLs: HMAC-SHA-512 over the URL path and the parameters path and timestamp (dea_ng).
// It may be used by several goroutines at once.
type Signer struct {
	keys   []*key
	maxAge int64 // seconds
	now    func() time.Time
}

// NewSigner returns a Signer, or an error when a key is empty or MaxAge is negative.
func NewSigner(cfg SignerConfig) (*Signer, error) {
	s := &Signer{maxAge: int64(cfg.MaxAge / time.Second), now: cfg.Now}
	switch {
	case cfg.MaxAge < 0:
		return nil, fmt.Errorf("directory signer: MaxAge is %v; give a positive duration, or 0 for one hour", cfg.MaxAge)
	case cfg.MaxAge == 0:
		s.maxAge = 3600
	}
	if s.now == nil {
		s.now = time.Now
	}
	keys := cfg.Keys
	if len(keys) == 0 {
		keys = []string{NewToken()}
	}
	for _, k := range keys {
		if k == "" {
			return nil, errors.New("directory signer: a key is empty; give a secret text, or no keys for a random one")
		}
		s.keys = append(s.keys, newKey(k))
	}
	return s, nil
}

// NewToken returns 32 random lower-case hex digits: a key, or the label of the host name that a router knows the
// directory server by (dea_ng).
func NewToken() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// BaseURL returns "<protocol>://<label>.<domain>", the start of a URL that a router resolves.
func BaseURL(protocol, label, domain string) string { return protocol + "://" + label + "." + domain }

// InstanceURL returns a URL of a file of an instance. base is BaseURL or any other "scheme://host:port" that reaches the
// server; path is relative to the instance's root, with or without a leading slash, and nil or empty for the root.
func (s *Signer) InstanceURL(base, id string, path *string) string {
	return strings.TrimSuffix(base, "/") + s.SignedPath(instancePrefix+url.PathEscape(id), path)
}

// StagingURL returns a URL of a file of a staging task. path is absolute in the task's container.
func (s *Signer) StagingURL(base, taskID string, path *string) string {
	return strings.TrimSuffix(base, "/") + s.SignedPath(stagingPrefix+url.PathEscape(taskID)+stagingSuffix, path)
}

// SignedPath returns urlPath with the query that makes it valid from now on: hmac, path and timestamp in this order
// (dea_ng). A nil path is written as a bare "path" and means the same as an empty one.
func (s *Signer) SignedPath(urlPath string, path *string) string {
	p := param{null: path == nil}
	if path != nil {
		p.value = *path
	}
	query := appendQuery(nil, p, strconv.FormatInt(s.now().Unix(), 10), false)
	mac := s.keys[0].sum(urlPath, query)
	return urlPath + "?hmac=" + string(mac[:]) + "&" + string(query)
}

// Verify checks a request for urlPath, escaped as it was received, and returns the path parameter, decoded. Parameters
// other than hmac, path and timestamp do not matter, nor does the order. It returns an *Error with status 400 when one is
// missing or the timestamp is no number, ErrInvalidHMAC, or ErrExpired; a timestamp in the future is accepted (dea_ng).
func (s *Signer) Verify(urlPath, rawQuery string) (path string, err error) {
	var c claim
	for p := range params(rawQuery) {
		switch p.name {
		case "hmac":
			c.mac, c.macs = p.value, c.macs+1
		case "path":
			c.path, c.paths = p, c.paths+1
		case "timestamp":
			c.timestamp, c.timestamps = p.value, c.timestamps+1
		}
	}
	at, err := c.check()
	if err != nil {
		return "", err
	}
	if !s.matches(urlPath, c) {
		return "", ErrInvalidHMAC
	}
	if at < s.now().Unix()-s.maxAge {
		return "", ErrExpired
	}
	return c.path.value, nil
}

// A claim is what a request says of itself.
type claim struct {
	mac, timestamp          string
	path                    param
	macs, timestamps, paths int
}

// check returns the timestamp, or tells all that is missing or misshapen.
func (c claim) check() (int64, error) {
	var faults []string
	if c.macs == 0 {
		faults = append(faults, "hmac is missing")
	}
	at, err := strconv.ParseInt(c.timestamp, 10, 64)
	if c.timestamps == 0 {
		faults = append(faults, "timestamp is missing")
	} else if err != nil || c.timestamps > 1 {
		faults = append(faults, "timestamp is invalid")
	}
	if c.paths == 0 {
		faults = append(faults, "path is missing")
	}
	if faults != nil {
		return 0, &Error{400, strings.Join(faults, ", ")}
	}
	return at, nil
}

// matches tries the forms in which the same parameters may have been signed: with either escaping, and an empty path
// with and without "=", because the Cloud Controller adds it when it re-encodes a URL (cloud_controller_ng).
func (s *Signer) matches(urlPath string, c claim) bool {
	if c.macs != 1 || c.paths != 1 || len(c.mac) != hex.EncodedLen(sha512.Size) {
		return false
	}
	forms := [][]byte{appendQuery(make([]byte, 0, 128), c.path, c.timestamp, false)}
	switch {
	case c.path.value == "":
		c.path.null = !c.path.null
		forms = append(forms, appendQuery(nil, c.path, c.timestamp, false))
	case strings.ContainsAny(c.path.value, "~*"):
		forms = append(forms, appendQuery(nil, c.path, c.timestamp, true))
	}
	for _, key := range s.keys {
		for _, query := range forms {
			mac := key.sum(urlPath, query)
			if subtle.ConstantTimeCompare(mac[:], []byte(c.mac)) == 1 {
				return true
			}
		}
	}
	return false
}

// appendQuery appends the canonical query: the signed parameters sorted by name.
func appendQuery(b []byte, path param, timestamp string, goStyle bool) []byte {
	b = append(b, "path"...)
	if !path.null {
		b = append(b, '=')
		b = appendEscaped(b, path.value, goStyle)
	}
	b = append(b, "&timestamp="...)
	return appendEscaped(b, timestamp, goStyle)
}

// A key keeps hashes that have taken it in already.
type key struct{ hashes sync.Pool }

func newKey(text string) *key {
	return &key{sync.Pool{New: func() any { return hmac.New(sha512.New, []byte(text)) }}}
}

// sum returns the MAC of "<urlPath>?<query>" as hex digits.
func (k *key) sum(urlPath string, query []byte) (text [2 * sha512.Size]byte) {
	message := make([]byte, 0, 256)
	message = append(message, urlPath...)
	message = append(message, '?')
	message = append(message, query...)
	h := k.hashes.Get().(hash.Hash)
	defer k.hashes.Put(h)
	h.Reset()
	h.Write(message)
	var mac [sha512.Size]byte
	hex.Encode(text[:], h.Sum(mac[:0]))
	return text
}
