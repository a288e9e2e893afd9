package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Hidden stands where something secret is.
const Hidden = "(hidden)"

// A Secret is text that must not be seen. Printed, logged or marshalled it is [Hidden]; string(s) is the text.
type Secret string

// String hides the text; the empty one stays empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Hidden
}

// Format hides the text from every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue hides the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A URL is an address that can hold a password. Printed, logged or marshalled it has neither user info nor query;
// string(u) is the whole.
type URL string

// String returns the URL fit for logs.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Host == "" && parsed.Scheme != "unixgram" {
		return Hidden
	}
	user := parsed.User
	parsed.User, parsed.RawQuery, parsed.ForceQuery, parsed.Fragment, parsed.RawFragment = nil, "", false, "", ""
	if user == nil {
		return parsed.String()
	}
	return strings.Replace(parsed.String(), "//", "//"+Hidden+"@", 1)
}

// Format makes every verb print String.
func (u URL) Format(f fmt.State, _ rune) { fmt.Fprint(f, u.String()) }

// LogValue returns String.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText returns String.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// String returns the configuration as YAML, without secrets.
func (c Config) String() string {
	text, err := yaml.Marshal(c)
	if err != nil {
		return "(" + err.Error() + ")" // a type that YAML does not know, which no field has
	}
	return string(text)
}

// LogValue returns the configuration as nested maps by its keys, without secrets.
func (c Config) LogValue() slog.Value {
	var keys map[string]any
	if err := yaml.Unmarshal([]byte(c.String()), &keys); err != nil {
		return slog.StringValue("(" + err.Error() + ")")
	}
	return slog.AnyValue(keys)
}
