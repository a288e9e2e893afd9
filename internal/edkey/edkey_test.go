package edkey

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Both forms in which OpenSSL encrypts a key.
func TestEncryptedKeys(t *testing.T) {
	for _, text := range []string{
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		_, err := Private([]byte(text))
		assert.ErrorContains(t, err, "it is encrypted")
	}
}
