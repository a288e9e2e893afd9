package transport

import (
	"strings"
	"unicode/utf8"

	"github.com/deakit/deakit/messaging"
)

// MaxReply is the size of the longest reply over NATS, bytes (bosh-agent, and the max_payload of the director's server).
const MaxReply = 1 << 20

// tooLong is all that is left of a value that does not fit, and of an exception where not even its ends do.
const tooLong = `{"exception":{"message":"Response exceeded maximum allowed length"}}`

// marker stands for what was left out of a message.
const marker = "\n...[truncated]...\n"

// Encode returns the JSON of the reply, of limit bytes at most; 0 is no limit. What is too long is an exception: of one that
// is, the short text of the error (see [Shortener]), or else its beginning and end around a marker; a value is never cut, it
// becomes "Response exceeded maximum allowed length". A limit below the length of that is not met.
func (r Reply) Encode(limit int) []byte {
	if r.Err == nil {
		data, err := messaging.AgentReply{Value: r.Value}.MarshalJSON() // json.Marshal would read all of it once more
		if err != nil {                                                 // a handler that made a value which is no JSON
			return Reply{Err: err}.Encode(limit)
		}
		if limit > 0 && len(data) > limit {
			return []byte(tooLong)
		}
		return data
	}
	full := r.exception()
	data := mustEncode(full)
	if limit <= 0 || len(data) <= limit {
		return data
	}
	if short, ok := r.short(); ok {
		if data = mustEncode(short); len(data) <= limit {
			return data
		}
		full = short
	}
	return truncate(full.Exception.Message, limit)
}

// mustEncode is for replies that are text alone, and so always have JSON.
func mustEncode(reply messaging.AgentReply) []byte {
	data, err := reply.MarshalJSON()
	if err != nil {
		panic(err)
	}
	return data
}

// truncate keeps the head and the tail of a message, as much of either as fits.
func truncate(message string, limit int) []byte {
	message = strings.ToValidUTF8(message, "\ufffd") // as JSON has it anyway
	frame := mustEncode(messaging.AgentReply{Exception: &messaging.AgentException{Message: marker}})
	half := (limit - len(frame)) / 2
	if half <= 0 {
		return []byte(tooLong)
	}
	head, room := 0, half
	for head < len(message) {
		r, size := utf8.DecodeRuneInString(message[head:])
		if room -= escaped(r, size); room < 0 {
			break
		}
		head += size
	}
	tail, room := len(message), half
	for tail > head {
		r, size := utf8.DecodeLastRuneInString(message[:tail])
		if room -= escaped(r, size); room < 0 {
			break
		}
		tail -= size
	}
	cut := message[:head] + marker + message[tail:]
	return mustEncode(messaging.AgentReply{Exception: &messaging.AgentException{Message: cut}})
}

// escaped is the length of a rune in a JSON text of encoding/json, at most.
func escaped(r rune, size int) int {
	switch {
	case r == '"', r == '\\', r == '\n', r == '\r', r == '\t':
		return 2
	case r < ' ', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029':
		return 6
	default:
		return size
	}
}
