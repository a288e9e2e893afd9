// Package edkey reads Ed25519 keys in PEM.
package edkey

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Private reads a private key, as "openssl genpkey -algorithm ed25519" writes it (PKCS 8).
func Private(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block != nil && (block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "") {
		return nil, errors.New("private key: it is encrypted, and nobody is there to give the password; openssl pkey -in FILE -out NEW decrypts it")
	}
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New(`private key: no "PRIVATE KEY" in PEM; make one with openssl genpkey -algorithm ed25519`)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("private key: it is a %T; make one with openssl genpkey -algorithm ed25519", parsed)
	}
	return key, nil
}

// Public reads one public key or more, one after the other, as "openssl pkey -pubout" writes them.
func Public(text []byte) (keys []ed25519.PublicKey, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf(`public keys: there is a %q among them; take what openssl pkey -pubout writes`, block.Type)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("public keys: %w", err)
		}
		key, ok := parsed.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("public keys: one is a %T; make a key with openssl genpkey -algorithm ed25519", parsed)
		}
		keys = append(keys, key)
	}
	if keys == nil {
		return nil, errors.New(`public keys: no "PUBLIC KEY" in PEM; take what openssl pkey -pubout writes`)
	}
	return keys, nil
}
