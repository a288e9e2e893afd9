package directory

import (
	"iter"
	"net/url"
	"strings"
)

// Asked returns what the query of a request asks for, as a Server understands it: the path of a file, and whether that is to be
// tailed. It checks nothing, and is meant for logs.
func Asked(rawQuery string) (path string, tail bool) {
	found := false
	for p := range params(rawQuery) {
		switch {
		case p.name == "tail":
			tail = true
		case p.name == "path" && !found:
			path, found = p.value(), true
		}
	}
	return path, tail
}

// A param is a parameter of a query. A null parameter stands without "=".
type param struct {
	name string
	raw  string // the value as it stands in the query
	null bool
}

// value is form-decoded.
func (p param) value() string { return decode(p.raw) }

// params yields the parameters of a raw query in their order. Both & and ; separate, as they do for dea_ng. A malformed
// escape is kept as it stands: it can match no signature.
func params(rawQuery string) iter.Seq[param] {
	return func(yield func(param) bool) {
		for rawQuery != "" {
			var pair string
			if i := strings.IndexAny(rawQuery, "&;"); i >= 0 {
				pair, rawQuery = rawQuery[:i], rawQuery[i+1:]
			} else {
				pair, rawQuery = rawQuery, ""
			}
			if pair == "" {
				continue
			}
			name, value, found := strings.Cut(pair, "=")
			if !yield(param{decode(name), value, !found}) {
				return
			}
		}
	}
}

func decode(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

const hexDigits = "0123456789ABCDEF"

// appendEscaped appends the form encoding of s that the DEA signs (dea_ng): letters, digits and * - . _ stay, blank
// becomes +, all other bytes %XX. With goStyle it is that of url.QueryEscape, which keeps ~ and encodes *.
func appendEscaped(b []byte, s string, goStyle bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_',
			c == '*' && !goStyle, c == '~' && goStyle:
			b = append(b, c)
		case c == ' ':
			b = append(b, '+')
		default:
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}
