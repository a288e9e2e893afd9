package messaging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Text is a string that some peers send as a number; null becomes empty. It is sent as a string.
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(data []byte) error {
	switch {
	case bytes.Equal(data, []byte("null")):
		*t = ""
		return nil
	case len(data) > 0 && (data[0] == '-' || data[0] >= '0' && data[0] <= '9'):
		*t = Text(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(t))
}

// Texts is a list of strings that some peers send as one bare string. Elements that are not strings are kept as
// empty strings, which match nothing; null is an empty list.
type Texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Texts) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var one string
		if err := json.Unmarshal(data, &one); err != nil {
			return err
		}
		*t = Texts{one}
		return nil
	}
	items, err := rawList(data)
	if err != nil {
		return err
	}
	*t = nil
	for _, item := range items {
		var s string
		if json.Unmarshal(item, &s) != nil {
			s = ""
		}
		*t = append(*t, s)
	}
	return nil
}

// Indices is a list of instance indexes. Elements that are not integers are kept as -1, which matches nothing.
type Indices []int

// UnmarshalJSON implements json.Unmarshaler.
func (x *Indices) UnmarshalJSON(data []byte) error {
	items, err := rawList(data)
	if err != nil {
		return err
	}
	*x = nil
	for _, item := range items {
		var n int
		if bytes.Equal(item, []byte("null")) || json.Unmarshal(item, &n) != nil {
			n = -1
		}
		*x = append(*x, n)
	}
	return nil
}

func rawList(data []byte) ([]json.RawMessage, error) {
	var items []json.RawMessage
	err := json.Unmarshal(data, &items)
	return items, err
}

// Int is an integer that some peers send as a float, as text or as null (0). It is sent as an integer.
type Int int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *Int) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		*n = 0
		return nil
	}
	text := string(data)
	if len(data) > 0 && data[0] == '"' {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		if text == "" {
			*n = 0
			return nil
		}
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		*n = Int(i)
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < math.MinInt64 || f >= math.MaxInt64 {
		return fmt.Errorf("%.40q is not a number", text)
	}
	*n = Int(math.Floor(f))
	return nil
}

// Truth is a boolean for which some peers send other values: null, false and absence are false, all else is true.
type Truth bool

// UnmarshalJSON implements json.Unmarshaler.
func (t *Truth) UnmarshalJSON(data []byte) error {
	*t = Truth(!bytes.Equal(data, []byte("null")) && !bytes.Equal(data, []byte("false")))
	return nil
}

// Optional is a value that may be absent, null, or there; the three mean different things.
type Optional[T any] struct {
	Present bool // the key exists
	Value   *T   // nil when it was null
}

// Present returns an Optional that carries v.
func Present[T any](v T) Optional[T] { return Optional[T]{Present: true, Value: &v} }

// Null returns an Optional that is there and null.
func Null[T any]() Optional[T] { return Optional[T]{Present: true} }

// UnmarshalJSON implements json.Unmarshaler.
func (o *Optional[T]) UnmarshalJSON(data []byte) error {
	o.Present = true
	return json.Unmarshal(data, &o.Value)
}

// MarshalJSON implements json.Marshaler. Fields of this type carry the option omitzero.
func (o Optional[T]) MarshalJSON() ([]byte, error) { return json.Marshal(o.Value) }

// Signal is a message whose arrival is all that counts; any payload will do.
type Signal struct{}

func (*Signal) ignored() {}
