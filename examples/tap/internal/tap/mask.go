package tap

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
)

// hidden stands where a secret was.
const hidden = "…"

// ErrNotJSON: the data is not one JSON value, or one that is nested too deeply.
var ErrNotJSON = errors.New("not JSON")

// Mask returns JSON in compact form without its secrets: user info and signatures in URLs, wherever they stand in a
// text; values of the keys "credentials" and such as contain "password" or "secret"; values, not names, in "env" and
// "environment". Keys count in any case. It fails with ErrNotJSON.
func Mask(data []byte) ([]byte, error) {
	// Valid also bounds the depth, and with it the recursion below.
	if !json.Valid(data) {
		return nil, ErrNotJSON
	}
	m := masker{in: json.NewDecoder(bytes.NewReader(data))}
	m.in.UseNumber()
	if err := m.value(); err != nil {
		return nil, err
	}
	return m.out.Bytes(), nil
}

type masker struct {
	in  *json.Decoder
	out bytes.Buffer
}

func (m *masker) value() error {
	token, err := m.in.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return m.object()
		}
		return m.array()
	case string:
		return m.write(maskText(token))
	default:
		return m.write(token)
	}
}

func (m *masker) array() error {
	m.out.WriteByte('[')
	for first := true; m.in.More(); first = false {
		if !first {
			m.out.WriteByte(',')
		}
		if err := m.value(); err != nil {
			return err
		}
	}
	m.out.WriteByte(']')
	_, err := m.in.Token()
	return err
}

func (m *masker) object() error {
	m.out.WriteByte('{')
	for first := true; m.in.More(); first = false {
		if !first {
			m.out.WriteByte(',')
		}
		token, err := m.in.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // JSON has no other keys
		if err := m.write(maskText(key)); err != nil {
			return err
		}
		m.out.WriteByte(':')
		if err := m.member(strings.ToLower(key)); err != nil {
			return err
		}
	}
	m.out.WriteByte('}')
	_, err := m.in.Token()
	return err
}

// member writes the value of a key.
func (m *masker) member(key string) error {
	environment := key == "env" || key == "environment"
	secret := key == "credentials" || strings.Contains(key, "password") || strings.Contains(key, "secret")
	if !environment && !secret {
		return m.value()
	}
	var value any
	if err := m.in.Decode(&value); err != nil {
		return err
	}
	if environment {
		return m.write(maskEnvironment(value))
	}
	if value != nil {
		value = hidden
	}
	return m.write(value)
}

func (m *masker) write(value any) error {
	encoder := json.NewEncoder(&m.out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	m.out.Truncate(m.out.Len() - 1) // Encode ends the line
	return nil
}

// maskEnvironment keeps the names of variables: of "NAME=value" and of objects. What has another form is hidden.
func maskEnvironment(value any) any {
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		for i, entry := range value {
			text, _ := entry.(string)
			if name, _, ok := strings.Cut(text, "="); ok {
				value[i] = name + "=" + hidden
			} else {
				value[i] = hidden
			}
		}
		return value
	case map[string]any:
		for name := range value {
			value[name] = hidden
		}
		return value
	default:
		return hidden
	}
}

var (
	link      = regexp.MustCompile(`://[^\s"]+`) // a password may hold an apostrophe as it is
	signature = regexp.MustCompile(`([?&]hmac=)[^&#]*`)
)

// maskText hides user info and signatures of the URLs in a text.
func maskText(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	return link.ReplaceAllStringFunc(text, func(rest string) string {
		return signature.ReplaceAllString(maskUser(rest), "${1}"+hidden)
	})
}

// maskUser hides the user info of a URL from "://" on. People also write passwords that contain "/", "#" or "@"
// unescaped, so where there is user info it is taken to reach up to the last "@": rather too much than too little.
func maskUser(rest string) string {
	last := strings.LastIndexByte(rest, '@')
	if last < 0 {
		return rest
	}
	authority := rest[len("://"):]
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority = authority[:end]
	}
	_, port, hasPort := strings.Cut(authority, ":")
	if strings.Contains(authority, "@") || hasPort && strings.Trim(port, "0123456789") != "" {
		return "://" + hidden + rest[last:]
	}
	return rest
}
