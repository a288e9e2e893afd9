package alert

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"strings"
	"time"
)

// ErrMail: a mail is none of monit's, as it names no service or no event.
var ErrMail = errors.New("mail is no alert of monit: it has no Service or no Event line")

// maxMailLine bounds a line of a mail, in bytes; what is longer is cut.
const maxMailLine = 4 << 10

// ParseMail reads an event out of a mail of monit: lines such as "Service: nats" in any order, among others. It takes what
// either agent takes: names of lines in any case, with blanks before them. Of several lines with a name the first counts, as
// what follows may be part of a description. A date that cannot be read, or that is missing, is now. A mail without message id
// has an empty one: the caller gives it one.
func ParseMail(data []byte, now time.Time) (Event, error) {
	var e Event
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for lines.Scan() {
		name, value, found := strings.Cut(shorten(lines.Text()), ":")
		if !found {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "message-id":
			e.ID = cmp.Or(e.ID, strings.Trim(value, "<>"))
		case "service":
			e.Service = cmp.Or(e.Service, value)
		case "event":
			e.Event = cmp.Or(e.Event, value)
		case "action":
			e.Action = cmp.Or(e.Action, value)
		case "description":
			e.Description = cmp.Or(e.Description, value)
		case "date":
			e.Time = cmp.Or(e.Time, parseDate(value))
		}
	}
	e.Time = cmp.Or(e.Time, now)
	if e.Service == "" || e.Event == "" {
		return Event{}, ErrMail
	}
	return e, nil
}

// shorten cuts a line, and replaces what is no UTF-8 or no text.
func shorten(line string) string {
	if len(line) > maxMailLine {
		line = line[:maxMailLine]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
}

// parseDate reads the dates of monit and of mail headers. What it cannot read is the zero time.
func parseDate(text string) time.Time {
	for _, layout := range []string{
		"Mon, _2 Jan 2006 15:04:05 -0700", "Mon, _2 Jan 2006 15:04:05 MST", "_2 Jan 2006 15:04:05 -0700", time.RFC822Z, time.RFC822,
	} {
		if t, err := time.Parse(layout, text); err == nil && t.Unix() > 0 {
			return t
		}
	}
	return time.Time{}
}
