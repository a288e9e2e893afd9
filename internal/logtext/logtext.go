// Package logtext makes what clients send fit for logs.
package logtext

import (
	"strings"
	"unicode/utf8"
)

// maxSize bounds what a client can put into a log at once, in bytes.
const maxSize = 512

// OfURL returns what a log may have of a part of a URL, or of a header, that a client has sent: its beginning, as UTF-8. A client
// that has lost its way with escaping may have put the query of a signed URL into the path, so what begins with the name of the
// signature ("hmac") is left out.
func OfURL(text string) string {
	if len(text) > maxSize {
		text = text[:maxSize] + "…"
	}
	if i := strings.Index(text, "hmac"); i >= 0 {
		text = text[:i] + "…"
	}
	return strings.ToValidUTF8(text, string(utf8.RuneError))
}
