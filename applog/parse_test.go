package applog

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A parsed message, as a strict receiver reads it.
type parsed struct {
	pri                              int
	time                             time.Time
	hostname, appName, procID, msgID string
	params                           map[string]string // of the one SD-ELEMENT, nil without
	sdID                             string
	text                             string
	hasText                          bool
}

// header is the ABNF of RFC 5424, section 6, up to the structured data.
var header = regexp.MustCompile(`^<(0|[1-9][0-9]{0,2})>1 (-|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})) ` +
	`([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) `)

var (
	sdName  = regexp.MustCompile(`^[!#-<>-\\^-~]{1,32}$`) // no '=', ']', '"'
	sdParam = regexp.MustCompile(`^ ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"`)
)

func parse(message string) (parsed, error) {
	m := header.FindStringSubmatch(message)
	if m == nil {
		return parsed{}, errors.New("no header")
	}
	var p parsed
	p.pri, _ = strconv.Atoi(m[1])
	if p.pri > 191 {
		return p, fmt.Errorf("PRI %d", p.pri)
	}
	if m[2] != "-" {
		var err error
		if p.time, err = time.Parse(time.RFC3339Nano, m[2]); err != nil {
			return p, err
		}
	}
	p.hostname, p.appName, p.procID, p.msgID = m[3], m[4], m[5], m[6]
	rest, err := p.structured(message[len(m[0]):])
	if err != nil {
		return p, err
	}
	if rest != "" {
		if rest[0] != ' ' {
			return p, fmt.Errorf("no space before the text: %q", rest)
		}
		p.text, p.hasText = rest[1:], true
	}
	return p, nil
}

func (p *parsed) structured(s string) (rest string, err error) {
	if strings.HasPrefix(s, "-") {
		return s[1:], nil
	}
	if !strings.HasPrefix(s, "[") {
		return "", errors.New("no structured data")
	}
	end := strings.IndexAny(s, " ]")
	if end < 0 || !sdName.MatchString(s[1:end]) {
		return "", errors.New("no SD-ID")
	}
	p.sdID, p.params, s = s[1:end], map[string]string{}, s[end:]
	for {
		m := sdParam.FindStringSubmatch(s)
		if m == nil {
			break
		}
		if !utf8.ValidString(m[2]) {
			return "", errors.New("PARAM-VALUE is no UTF-8")
		}
		p.params[m[1]] = m[2]
		s = s[len(m[0]):]
	}
	if !strings.HasPrefix(s, "]") {
		return "", fmt.Errorf("structured data does not end: %q", s)
	}
	return s[1:], nil
}
