package applog

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// PRI of a message: facility user (1), with severity info (6) or err (3).
const (
	priStdout = 1<<3 | 6
	priStderr = 1<<3 | 3
)

// Most bytes of fields (RFC 5424, section 6).
const (
	maxHostname = 255
	maxAppName  = 48
	maxProcID   = 128
	maxGUID     = 128 // of structured data: a limit of our own
)

// rfc5424Time ends in an offset, also for UTC, as Loggregator writes it.
const rfc5424Time = "2006-01-02T15:04:05.000000-07:00"

// A message is written as Loggregator writes it: the guid of the app is the APP-NAME, the source stands in brackets as
// PROCID, with the index of an instance, and MSGID is empty. The structured data is that of its later versions: 47450 is the
// number of the Cloud Foundry Foundation, instance_id the index, process_instance_id the guid.
//
//	<14>1 2026-11-02T10:11:12.000013+00:00 deakit 0e7b4b2e-… [APP/0] - [tags@47450 instance_id="0" process_instance_id="c623…"] text
func appendMessage(dst []byte, l Line, hostname string, maxText int) []byte {
	pri := priStdout
	if l.Stream == Stderr {
		pri = priStderr
	}
	dst = append(dst, '<')
	dst = strconv.AppendInt(dst, int64(pri), 10)
	dst = append(dst, ">1 "...)
	dst = appendTime(dst, l.Time)
	dst = append(dst, ' ')
	dst = appendField(dst, hostname, maxHostname)
	dst = append(dst, ' ')
	dst = appendField(dst, l.App, maxAppName)
	dst = append(dst, ' ')
	dst = appendProcID(dst, l)
	dst = append(dst, " - "...)
	dst = appendTags(dst, l)
	if l.Text == "" {
		return dst
	}
	dst = append(dst, ' ')
	return appendText(dst, l.Text, maxText)
}

func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	if year := t.Year(); year < 0 || year > 9999 {
		return append(dst, '-')
	}
	return t.AppendFormat(dst, rfc5424Time)
}

// appendField writes s as a field of the header: visible ASCII, at most so long, "-" when empty.
func appendField(dst []byte, s string, most int) []byte {
	if s == "" {
		return append(dst, '-')
	}
	for _, b := range []byte(s[:min(len(s), most)]) {
		if b <= ' ' || b > '~' {
			b = '_'
		}
		dst = append(dst, b)
	}
	return dst
}

func appendProcID(dst []byte, l Line) []byte {
	if l.Source == "" {
		return append(dst, '-')
	}
	dst = append(dst, '[')
	dst = appendField(dst, string(l.Source), maxProcID-2-len("/-9223372036854775808"))
	if l.Source == App {
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, int64(l.Index), 10)
	}
	return append(dst, ']')
}

func appendTags(dst []byte, l Line) []byte {
	if l.Instance == "" {
		return append(dst, '-')
	}
	dst = append(dst, `[tags@47450 instance_id="`...)
	dst = strconv.AppendInt(dst, int64(l.Index), 10)
	dst = append(dst, `" process_instance_id="`...)
	dst = appendField(dst, quotable(l.Instance), maxGUID)
	return append(dst, `"]`...)
}

// quotable replaces what would have to be escaped within quotes: no guid has it.
func quotable(s string) string {
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' || s[i] == ']' {
			b := []byte(s)
			for j, c := range b {
				if c == '"' || c == '\\' || c == ']' {
					b[j] = '_'
				}
			}
			return string(b)
		}
	}
	return s
}

// appendText writes at most so many bytes of text. It becomes valid UTF-8, and one line that no receiver can take for two
// or for an order to its terminal: NUL is left out (Loggregator), other control characters but tab become "#" and three
// octal digits (rsyslog), those beyond ASCII and what is no UTF-8 the replacement character.
func appendText(dst []byte, text string, most int) []byte {
	end := len(dst) + most
	for i := 0; i < len(text); {
		if b := text[i]; b < utf8.RuneSelf {
			i++
			switch {
			case b >= ' ' && b != 0x7f, b == '\t':
				if len(dst) >= end {
					return dst
				}
				dst = append(dst, b)
			case b != 0:
				if len(dst)+4 > end {
					return dst
				}
				dst = append(dst, '#', '0'+b>>6, '0'+b>>3&7, '0'+b&7)
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		if r < 0xa0 { // C1
			r = utf8.RuneError
		}
		if len(dst)+utf8.RuneLen(r) > end {
			return dst
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
