package logging

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"reflect"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// release keeps the buffer for another line, unless an unusual one made it large.
func release(b *[]byte) {
	if cap(*b) <= 16<<10 {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// appendComma separates what follows from what stands before it in the same object.
func appendComma(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] != '{' {
		return append(b, ',')
	}
	return b
}

// appendGroups opens objects, one in the other.
func appendGroups(b []byte, names []string) []byte {
	for _, name := range names {
		b = append(appendString(appendComma(b), name), ":{"...)
	}
	return b
}

// appendAttr adds "key":value, or nothing for an empty attribute or group. A group without a name is part of the object
// that it stands in.
func appendAttr(b []byte, a slog.Attr) []byte {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if a.Value.Kind() != slog.KindGroup {
		b = append(appendString(appendComma(b), a.Key), ':')
		return appendValue(b, a.Value)
	}
	before := len(b)
	if a.Key != "" {
		b = appendGroups(b, []string{a.Key})
	}
	inside := len(b)
	for _, member := range a.Value.Group() {
		b = appendAttr(b, member)
	}
	switch {
	case len(b) == inside:
		return b[:before]
	case a.Key != "":
		return append(b, '}')
	default:
		return b
	}
}

func appendValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindString:
		return appendString(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindFloat64:
		return appendFloat(b, v.Float64())
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindDuration:
		return appendFloat(b, v.Duration().Seconds())
	case slog.KindTime:
		return appendString(b, v.Time().Format(time.RFC3339Nano))
	default:
		return appendAny(b, v.Any())
	}
}

// appendFloat writes the shortest number that is f; what JSON has no number for becomes text.
func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return appendString(b, strconv.FormatFloat(f, 'g', -1, 64))
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// appendAny writes what only its type knows how to write. Faults of such code end in the line, not in the program.
func appendAny(b []byte, v any) (out []byte) {
	before := len(b)
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		out = b[:before]
		if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.IsNil() {
			out = append(out, "null"...)
		} else {
			out = appendString(out, fmt.Sprintf("!PANIC: %v", fault))
		}
	}()
	if text, ok := asText(v); ok {
		return appendString(b, text)
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return appendString(b, "!ERROR: "+err.Error())
	}
	return append(b, encoded...)
}

// asText has the values that are text for this format. An error that knows its JSON is left to that.
func asText(v any) (string, bool) {
	if text, ok := asURL(v); ok {
		return text, true
	}
	err, isError := v.(error)
	if _, more := v.(json.Marshaler); !isError || more {
		return "", false
	}
	return err.Error(), true
}

// asURL returns the text of a URL without user info.
func asURL(v any) (string, bool) {
	switch v := v.(type) {
	case *url.URL:
		if v == nil {
			return "", false
		}
		return withoutUser(*v), true
	case url.URL:
		return withoutUser(v), true
	default:
		return "", false
	}
}

func withoutUser(u url.URL) string {
	u.User = nil
	return u.String()
}

const hex = "0123456789abcdef"

// appendString writes s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), `\ufffd`...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
