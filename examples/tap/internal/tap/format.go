package tap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// Colours of a terminal.
const (
	plain = "\x1b[0m"
	dim   = "\x1b[2m"
	red   = "\x1b[1;31m"
	green = "\x1b[32m"
	cyan  = "\x1b[36m"
)

// line formats a record for people.
func (rec record) line(colour bool) string {
	paint := func(code, text string) string {
		text = printable(text)
		if !colour {
			return text
		}
		return code + text + plain
	}
	subject := paint(cyan, rec.Subject)
	if rec.AnswerTo != "" {
		subject = paint(green, "answer to "+rec.AnswerTo)
	}
	parts := []string{
		rec.Time.Format("15:04:05.000"),
		paint(dim, either(rec.From, "?")+" -> "+either(rec.To, "?")),
		subject,
	}
	if rec.Problem != "" {
		parts = append(parts, paint(red, "INVALID: "+rec.Problem))
	}
	switch {
	case rec.Message != nil:
		parts = append(parts, printable(string(rec.Message)))
	case rec.Bytes > 0:
		parts = append(parts, fmt.Sprintf("(%d bytes, not JSON)", rec.Bytes))
	}
	return strings.Join(parts, "  ") + "\n"
}

// json formats a record for programs: one object on a line.
func (rec record) json() (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(rec); err != nil {
		return "", err
	}
	return printable(strings.TrimSuffix(out.String(), "\n")) + "\n", nil
}

// printable escapes, as JSON does, what could steer a terminal: control characters and those without a glyph.
func printable(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}

func either(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
