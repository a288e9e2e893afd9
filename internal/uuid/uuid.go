// Package uuid draws and recognizes UUIDs.
package uuid

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// New returns a random UUID (version 4) in its usual form of 36 characters.
func New() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // which never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[:8], b[:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// Is tells whether s has the form of a UUID of any version, in letters of either case.
func Is(s string) bool {
	groups := strings.Split(s, "-")
	if len(s) != 36 || len(groups) != 5 {
		return false
	}
	for i, length := range [5]int{8, 4, 4, 4, 12} {
		if len(groups[i]) != length {
			return false
		}
		if _, err := hex.DecodeString(groups[i]); err != nil {
			return false
		}
	}
	return true
}
