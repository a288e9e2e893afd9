package messaging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/deakit/deakit/internal/rules"
)

// A MessageError tells why a message was refused. Of the data itself it shows no more than a misplaced number or an unknown
// name, cut to 40 characters: messages carry credentials.
type MessageError struct {
	Subject  string
	Problems []Problem // at least one
	Err      error     // the cause when the message is not JSON of the right shape, else nil
}

// A Problem is one thing that is wrong with a message.
type Problem struct {
	Field string // JSON name, with its path: "limits.mem"; empty for the message as a whole
	Text  string // "is required"
}

// maxShown bounds how many problems an error's text lists: a message can have one for each entry of a long list.
const maxShown = 10

func (e *MessageError) Error() string {
	var texts []string
	for i, p := range e.Problems {
		if i == maxShown {
			texts = append(texts, fmt.Sprintf("and %d more", len(e.Problems)-maxShown))
			break
		}
		texts = append(texts, strings.TrimSpace(p.Field+" "+p.Text))
	}
	return fmt.Sprintf("message on %s refused: %s", e.Subject, strings.Join(texts, "; "))
}

func (e *MessageError) Unwrap() error { return e.Err }

// absent is implemented by messages in which a number or the like must be present although its zero is legitimate:
// the method fills in values that no peer may send, before decoding.
type absent interface{ absent() }

// ignored is implemented by messages whose arrival is all that counts; any payload will do, also none.
type ignored interface{ ignored() }

func encode[T any](subject string, message T) ([]byte, error) {
	if err := check(subject, message); err != nil {
		return nil, err
	}
	data, err := json.Marshal(message)
	if err != nil {
		return nil, &MessageError{Subject: subject, Problems: []Problem{{Text: err.Error()}}, Err: err}
	}
	return data, nil
}

func decode[T any](subject string, data []byte) (T, error) {
	var message T
	if _, ok := any(&message).(ignored); ok {
		// A value of the wrong type leaves the other fields readable; what is no JSON leaves nothing.
		var wrongType *json.UnmarshalTypeError
		if err := json.Unmarshal(data, &message); err != nil && !errors.As(err, &wrongType) {
			var empty T
			return empty, nil
		}
		return message, nil
	}
	if a, ok := any(&message).(absent); ok {
		a.absent()
	}
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || bytes.Equal(trimmed, []byte("null")) {
		return message, &MessageError{Subject: subject, Problems: []Problem{{Text: "is empty"}}}
	}
	if err := json.Unmarshal(data, &message); err != nil {
		return message, &MessageError{Subject: subject, Problems: []Problem{jsonProblem(err)}, Err: err}
	}
	if err := check(subject, message); err != nil {
		return message, err
	}
	return message, nil
}

func jsonProblem(err error) Problem {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return Problem{wrongType.Field, fmt.Sprintf("must not be a %.40s", wrongType.Value)} // may have the number itself
	}
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return Problem{Text: "is not valid JSON: " + err.Error()}
	}
	return Problem{Text: err.Error()}
}

// tags remembers what it learned of types.
var tags = rules.New(map[string]func(string) bool{"token": IsToken, "state": isState, "protocol": isProtocol})

func check(subject string, message any) error {
	breaches := tags.Check(reflect.ValueOf(message))
	if len(breaches) == 0 {
		return nil
	}
	refused := &MessageError{Subject: subject}
	for _, b := range breaches {
		refused.Problems = append(refused.Problems, Problem{b.Path, explain(b)})
	}
	return refused
}

func explain(b rules.Breach) string {
	switch b.Rule {
	case "required":
		return "is required"
	case "gte":
		return "is required and must be at least " + b.Param
	case "token":
		return "must not be empty or contain '.', '*', '>' or blanks: it becomes part of a subject"
	case "state":
		return "is not a known state"
	case "protocol":
		return "must be one of tcp, udp, icmp, all"
	case "len":
		return "must have " + b.Param + " elements"
	default:
		return "must satisfy " + b.Rule + " " + b.Param
	}
}

// IsToken tells whether s can be a part of a subject: not empty, without '.', '*', '>', blanks and control characters.
func IsToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(".*>", r)
	})
}

// IsSubject tells whether s can be published on: tokens with dots between them.
func IsSubject(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if !IsToken(token) {
			return false
		}
	}
	return true
}
