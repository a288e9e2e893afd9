package directory

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"sync"
)

// macLength is the number of hex digits of a MAC with SHA-512 and, by good luck, of an Ed25519 signature: both fit the
// parameter "hmac".
const macLength = 2 * sha512.Size

var _ = [1]struct{}{}[sha512.Size-ed25519.SignatureSize]

// A checker checks signatures, which are lower-case hex digits; a scheme makes them too.
type (
	checker interface {
		verify(message []byte, mac *[macLength]byte) bool
	}
	scheme interface {
		checker
		sign(message []byte) [macLength]byte
	}
)

// A key is a secret for HMAC-SHA-512. It keeps hashes that have taken it in already.
type key struct{ hashes sync.Pool }

type hashing struct {
	hash.Hash
	sum [sha512.Size]byte
}

func newKey(text string) *key {
	return &key{sync.Pool{New: func() any { return &hashing{Hash: hmac.New(sha512.New, []byte(text))} }}}
}

func (k *key) sign(message []byte) (mac [macLength]byte) {
	h := k.hashes.Get().(*hashing)
	defer k.hashes.Put(h)
	h.Reset()
	h.Write(message)
	hex.Encode(mac[:], h.Sum(h.sum[:0]))
	return mac
}

func (k *key) verify(message []byte, mac *[macLength]byte) bool {
	want := k.sign(message)
	return subtle.ConstantTimeCompare(want[:], mac[:]) == 1
}

// A publicKey checks Ed25519 signatures.
type publicKey ed25519.PublicKey

func (k publicKey) verify(message []byte, mac *[macLength]byte) bool {
	var signature [ed25519.SignatureSize]byte
	if _, err := hex.Decode(signature[:], mac[:]); err != nil {
		return false
	}
	return ed25519.Verify(ed25519.PublicKey(k), message, signature[:])
}

// A keyPair makes them too.
type keyPair struct {
	publicKey
	private ed25519.PrivateKey
}

// newKeyPair refuses a key whose halves do not belong together: signing with it would give the secret away.
func newKeyPair(private ed25519.PrivateKey) (keyPair, error) {
	if len(private) != ed25519.PrivateKeySize || !ed25519.NewKeyFromSeed(private.Seed()).Equal(private) {
		return keyPair{}, errors.New("PrivateKey is no Ed25519 key; give what ParsePrivateKey or ed25519.GenerateKey returns")
	}
	return keyPair{publicKey(private.Public().(ed25519.PublicKey)), private}, nil
}

func (k keyPair) sign(message []byte) (mac [macLength]byte) {
	hex.Encode(mac[:], ed25519.Sign(k.private, message))
	return mac
}
