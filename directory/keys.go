package directory

import (
	"crypto/ed25519"

	"github.com/deakit/deakit/internal/edkey"
)

// ParsePrivateKey reads an Ed25519 key in PEM, as "openssl genpkey -algorithm ed25519" writes it (PKCS 8).
func ParsePrivateKey(text []byte) (ed25519.PrivateKey, error) { return edkey.Private(text) }

// ParsePublicKeys reads one Ed25519 key or more in PEM, one after the other, as "openssl pkey -pubout" writes them.
func ParsePublicKeys(text []byte) ([]ed25519.PublicKey, error) { return edkey.Public(text) }
