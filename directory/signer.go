package directory

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// SignerConfig sets up a Signer. The zero value draws a random key, so that URLs die with the process.
type SignerConfig struct {
	// Keys are secret texts; their bytes are the key as they stand, also where they look like hex digits (dea_ng). None is too short
	// here, but who has one URL can try short ones: take 32 random characters, as NewToken makes them. The first signs, all verify: put a new key in front, and drop the old one when its last URL has expired. Default:
	// one key from NewToken, unless there is a PrivateKey.
	Keys []string

	// PrivateKey signs in place of the first of Keys, with Ed25519, so that whoever verifies needs no secret: a Verifier
	// has the public key only. URLs look as ever, their "hmac" being as long. Keys still verify, for the time of a change.
	PrivateKey ed25519.PrivateKey

	// PublicKeys verify too: those of private keys that signed before.
	PublicKeys []ed25519.PublicKey

	// MaxAge is how long a URL is valid, counted in whole seconds; default 3600 s (dea_ng).
	MaxAge time.Duration

	// Now tells the time; default time.Now.
	Now func() time.Time
}

// A Signer makes and checks signed URLs: HMAC-SHA-512 over the URL path and the parameters path and timestamp (dea_ng),
// or an Ed25519 signature of the same. It may be used by several goroutines at once.
type Signer struct {
	verifier
	signing scheme
}

// NewSigner returns a Signer, or an error when a key is empty or malformed, or MaxAge is negative.
func NewSigner(cfg SignerConfig) (*Signer, error) {
	keys := cfg.Keys
	if len(keys) == 0 && cfg.PrivateKey == nil {
		keys = []string{NewToken()}
	}
	var schemes []scheme
	if cfg.PrivateKey != nil {
		pair, err := newKeyPair(cfg.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("directory signer: %w", err)
		}
		schemes = append(schemes, pair)
	}
	for _, k := range keys {
		if k == "" {
			return nil, errors.New("directory signer: a key is empty; give a secret text, or no keys for a random one")
		}
		schemes = append(schemes, newKey(k))
	}
	v, err := newVerifier(cfg.PublicKeys, cfg.MaxAge, cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("directory signer: %w", err)
	}
	for _, one := range schemes {
		v.checkers = append(v.checkers, one)
	}
	return &Signer{v, schemes[0]}, nil
}

// Verify checks a request for urlPath, escaped as it was received, and returns the path parameter, decoded. Parameters
// other than hmac, path and timestamp do not matter, nor does the order. It returns an *Error with status 400 when one is
// missing or the timestamp is no number, ErrInvalidHMAC, or ErrExpired; a timestamp in the future is accepted (dea_ng).
func (s *Signer) Verify(urlPath, rawQuery string) (path string, err error) {
	return s.verify(urlPath, rawQuery)
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
// (dea_ng). What cannot stand in the path of a URL is escaped first, as (*url.URL).EscapedPath does. A nil path is written as a bare
// "path" and means the same as an empty one.
func (s *Signer) SignedPath(urlPath string, path *string) string {
	urlPath = escaped(urlPath)
	c := claim{null: path == nil, timestamp: strconv.FormatInt(s.now().Unix(), 10)}
	if path != nil {
		c.path = *path
	}
	message := c.appendMessage(nil, urlPath, false)
	mac := s.signing.sign(message)
	return urlPath + "?hmac=" + string(mac[:]) + "&" + string(message[len(urlPath)+1:])
}

// escaped leaves a URL path that is escaped already as it is.
func escaped(urlPath string) string {
	plain, err := url.PathUnescape(urlPath)
	if err != nil {
		plain = urlPath
	}
	return (&url.URL{Path: plain, RawPath: urlPath}).EscapedPath()
}
