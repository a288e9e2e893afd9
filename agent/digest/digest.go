package digest

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"slices"
	"strings"
)

// An Algorithm is the name of a hash function as digest strings have it.
type Algorithm string

// The known algorithms.
const (
	SHA1   Algorithm = "sha1"
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
)

// strongestFirst is the order in which the parts of a digest are looked for.
var strongestFirst = []Algorithm{SHA512, SHA256, SHA1}

// ErrNone: the string holds no digest.
var ErrNone = errors.New("no digest algorithm found. Supported algorithms: sha1, sha256, sha512")

// maxLength bounds a digest string, which comes from a peer. Three parts have 250 characters.
const maxLength = 4096

// A Part is the digest by one algorithm. The algorithm may be unknown here.
type Part struct {
	Algorithm Algorithm
	Hex       string // compared as text: lower case
}

func (p Part) String() string {
	if p.Algorithm == SHA1 {
		return p.Hex
	}
	return string(p.Algorithm) + ":" + p.Hex
}

// A Digest is what some content must have. The zero value is no digest; it verifies nothing.
type Digest struct{ parts []Part }

var alphanumeric = regexp.MustCompile(`^[a-zA-Z0-9]+$`)

// Parse reads a digest string. Empty parts are passed over. It is an error if no part is left, which is [ErrNone], if
// there are two of one algorithm, and if a part holds anything but letters and digits. An algorithm that is not known is
// none: it becomes one when there is nothing else to verify by.
func Parse(s string) (Digest, error) {
	if len(s) > maxLength {
		return Digest{}, fmt.Errorf("digest string of %d characters: at most %d are read", len(s), maxLength)
	}
	var d Digest
	for text := range strings.SplitSeq(s, ";") {
		if text == "" {
			continue
		}
		part, err := parsePart(text)
		if err != nil {
			return Digest{}, err
		}
		if _, double := d.Part(part.Algorithm); double {
			return Digest{}, fmt.Errorf("multiple digests of the same algorithm '%s' found in digests '%s'", part.Algorithm, s)
		}
		d.parts = append(d.parts, part)
	}
	if len(d.parts) == 0 {
		return Digest{}, ErrNone
	}
	return d, nil
}

func parsePart(text string) (Part, error) {
	name, value, named := strings.Cut(text, ":")
	if !named {
		name, value = string(SHA1), text
	}
	if !alphanumeric.MatchString(name) || !alphanumeric.MatchString(value) {
		return Part{}, fmt.Errorf("unable to parse digest string %q: a digest and its algorithm can only contain alpha-numeric characters", text)
	}
	return Part{Algorithm(name), value}, nil
}

// Of reads r to its end and returns the digest by each of the algorithms, by SHA-1 where none is given.
func Of(r io.Reader, algorithms ...Algorithm) (Digest, error) {
	w := NewWriter(algorithms...)
	if _, err := io.Copy(w, r); err != nil {
		return Digest{}, fmt.Errorf("compute digest: %w", err)
	}
	return w.Digest(), nil
}

// Part returns the digest by an algorithm.
func (d Digest) Part(a Algorithm) (Part, bool) {
	i := slices.IndexFunc(d.parts, func(p Part) bool { return p.Algorithm == a })
	if i < 0 {
		return Part{}, false
	}
	return d.parts[i], true
}

// Strongest returns the part that decides: SHA-512 before SHA-256 before SHA-1. It is false where no algorithm is known.
func (d Digest) Strongest() (Part, bool) {
	for _, a := range strongestFirst {
		if part, ok := d.Part(a); ok {
			return part, true
		}
	}
	return Part{}, false
}

// IsZero tells whether there is no digest at all.
func (d Digest) IsZero() bool { return len(d.parts) == 0 }

// String joins the parts by semicolons; SHA-1 has no prefix.
func (d Digest) String() string {
	texts := make([]string, len(d.parts))
	for i, p := range d.parts {
		texts[i] = p.String()
	}
	return strings.Join(texts, ";")
}

// MarshalText is String; the zero digest is an error, since nobody could read it back.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, ErrNone
	}
	return []byte(d.String()), nil
}

// UnmarshalText is Parse.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = Parse(string(text))
	return err
}

func newHash(a Algorithm) hash.Hash {
	switch a {
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	}
	return nil
}

// A Writer computes digests of what is written to it.
type Writer struct {
	algorithms []Algorithm
	hashes     []hash.Hash
}

// NewWriter computes by these algorithms, by SHA-1 where none is given. It panics if one is not known.
func NewWriter(algorithms ...Algorithm) *Writer {
	if len(algorithms) == 0 {
		algorithms = []Algorithm{SHA1}
	}
	w := &Writer{algorithms: slices.Clone(algorithms)}
	for _, a := range algorithms {
		h := newHash(a)
		if h == nil {
			panic("digest: unknown algorithm " + string(a))
		}
		w.hashes = append(w.hashes, h)
	}
	return w
}

// Write never fails.
func (w *Writer) Write(p []byte) (int, error) {
	for _, h := range w.hashes {
		h.Write(p)
	}
	return len(p), nil
}

// Digest is that of all that was written so far.
func (w *Writer) Digest() Digest {
	var d Digest
	for i, h := range w.hashes {
		d.parts = append(d.parts, Part{w.algorithms[i], hex.EncodeToString(h.Sum(nil))})
	}
	return d
}
