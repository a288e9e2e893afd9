package droplet

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// Digest identifies the compressed bytes of a droplet.
type Digest struct {
	SHA1   string // 40 lower-case hexadecimal digits; the name of a droplet in the protocols (dea_ng)
	SHA256 string // 64 lower-case hexadecimal digits
	Size   int64  // bytes
}

// Hash reads r to its end and returns the digest of what it read.
func Hash(r io.Reader) (Digest, error) {
	h := newHasher(io.Discard)
	if _, err := io.Copy(h, onlyReader{r}); err != nil {
		return Digest{}, fmt.Errorf("hash droplet: %w", err)
	}
	return h.digest(), nil
}

// onlyReader hides other methods: an *os.File would rather copy itself.
type onlyReader struct{ io.Reader }

type onlyWriter struct{ io.Writer }

// A hasher passes bytes on and takes their digest.
type hasher struct {
	w            io.Writer
	sha1, sha256 hash.Hash
	size         int64
}

func newHasher(w io.Writer) *hasher {
	return &hasher{w: w, sha1: sha1.New(), sha256: sha256.New()}
}

func (h *hasher) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	h.sha1.Write(p[:n])
	h.sha256.Write(p[:n])
	h.size += int64(n)
	return n, err
}

func (h *hasher) digest() Digest {
	return Digest{hex.EncodeToString(h.sha1.Sum(nil)), hex.EncodeToString(h.sha256.Sum(nil)), h.size}
}
