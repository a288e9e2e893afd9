package directory

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Verifier checks a request for urlPath, escaped as it was received, with a raw query, and returns the path of the file,
// decoded. Its errors are those of [Signer.Verify]. It may be used by several goroutines at once.
type Verifier interface {
	Verify(urlPath, rawQuery string) (path string, err error)
}

// VerifierConfig sets up a PublicVerifier.
type VerifierConfig struct {
	// PublicKeys are those of the signers whose URLs are good, two of them while one follows another. Required.
	PublicKeys []ed25519.PublicKey

	// MaxAge is how long a URL is valid, counted in whole seconds; default 3600 s (dea_ng).
	MaxAge time.Duration

	// Now tells the time; default time.Now.
	Now func() time.Time
}

// A PublicVerifier checks URLs of a Signer that has a private key, and knows no secret itself: whoever takes over the
// process cannot make URLs.
type PublicVerifier struct{ verifier }

// NewVerifier returns an error when there is no key or a malformed one, or MaxAge is negative.
func NewVerifier(cfg VerifierConfig) (*PublicVerifier, error) {
	if len(cfg.PublicKeys) == 0 {
		return nil, errors.New("directory verifier: no PublicKeys; give those of the signers")
	}
	v, err := newVerifier(cfg.PublicKeys, cfg.MaxAge, cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("directory verifier: %w", err)
	}
	return &PublicVerifier{v}, nil
}

// Verify does what [Signer.Verify] does.
func (v *PublicVerifier) Verify(urlPath, rawQuery string) (path string, err error) {
	return v.verify(urlPath, rawQuery)
}

// A verifier is what a Signer and a PublicVerifier have in common.
type verifier struct {
	checkers []checker
	maxAge   int64 // seconds
	now      func() time.Time
}

func newVerifier(public []ed25519.PublicKey, age time.Duration, now func() time.Time) (verifier, error) {
	v := verifier{maxAge: int64(age / time.Second), now: now}
	switch {
	case age < 0:
		return v, fmt.Errorf("MaxAge is %v; give a positive duration, or 0 for one hour", age)
	case age == 0:
		v.maxAge = 3600
	}
	if v.now == nil {
		v.now = time.Now
	}
	for _, key := range public {
		if len(key) != ed25519.PublicKeySize {
			return v, fmt.Errorf("a public key has %d bytes; give an Ed25519 key of %d", len(key), ed25519.PublicKeySize)
		}
		v.checkers = append(v.checkers, publicKey(key))
	}
	return v, nil
}

func (v *verifier) verify(urlPath, rawQuery string) (path string, err error) {
	var c claim
	for p := range params(rawQuery) {
		switch p.name {
		case "hmac":
			c.mac, c.macs = p.value(), c.macs+1
		case "path":
			c.path, c.null, c.paths = p.value(), p.null, c.paths+1
		case "timestamp":
			c.timestamp, c.timestamps = p.value(), c.timestamps+1
		}
	}
	at, err := c.check()
	if err != nil {
		return "", err
	}
	if !v.matches(urlPath, c) {
		return "", ErrInvalidHMAC
	}
	if at < v.now().Unix()-v.maxAge {
		return "", ErrExpired
	}
	return c.path, nil
}

// A claim is what a request says of itself.
type claim struct {
	mac, path, timestamp    string
	null                    bool // path stands without "="
	macs, timestamps, paths int
}

// check returns the timestamp, or tells all that is missing or misshapen.
func (c *claim) check() (int64, error) {
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
func (v *verifier) matches(urlPath string, c claim) bool {
	if c.macs != 1 || c.paths != 1 || len(c.mac) != macLength {
		return false
	}
	var given [macLength]byte
	copy(given[:], c.mac)
	buf := chunks.Get().(*[smallFile]byte)
	defer chunks.Put(buf)
	if v.signed(c.appendMessage(buf[:0], urlPath, false), &given) {
		return true
	}
	switch {
	case c.path == "":
		c.null = !c.null
		return v.signed(c.appendMessage(buf[:0], urlPath, false), &given)
	case strings.ContainsAny(c.path, "~*"):
		return v.signed(c.appendMessage(buf[:0], urlPath, true), &given)
	}
	return false
}

func (v *verifier) signed(message []byte, mac *[macLength]byte) bool {
	for _, one := range v.checkers {
		if one.verify(message, mac) {
			return true
		}
	}
	return false
}

// appendMessage appends what is signed: the URL path, "?", and the signed parameters sorted by name.
func (c *claim) appendMessage(b []byte, urlPath string, goStyle bool) []byte {
	b = append(b, urlPath...)
	b = append(b, "?path"...)
	if !c.null {
		b = append(b, '=')
		b = appendEscaped(b, c.path, goStyle)
	}
	b = append(b, "&timestamp="...)
	return appendEscaped(b, c.timestamp, goStyle)
}
