package loose_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/framework/internal/loose"
)

// shown writes a value in a form of its own, which tells kinds and order.
func shown(v loose.Value) string {
	var b strings.Builder
	switch v.Kind() {
	case loose.Map:
		b.WriteString("{")
		for key, value := range v.Pairs() {
			b.WriteString(key + ":" + shown(value) + " ")
		}
		b.WriteString("}")
	case loose.List:
		b.WriteString("[")
		for _, value := range v.Items() {
			b.WriteString(shown(value) + " ")
		}
		b.WriteString("]")
	case loose.String:
		b.WriteString("'" + v.Text() + "'")
	case loose.Null:
		b.WriteString("null")
	default:
		b.WriteString(v.Text())
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"JSON":               {`{"b": 1, "a": [true, null, "x", 1.50], "b2": {}}`, "{b:1 a:[true null 'x' 1.50 ] b2:{} }"},
		"YAML":               {"b: 1\na: [true, ~, x, 1.50]\nb2: {}\n", "{b:1 a:[true null 'x' 1.50 ] b2:{} }"},
		"nothing":            {"", "null"},
		"equal keys":         {`{"a": 1, "b": 2, "a": 3}`, "{a:3 b:2 }"},
		"equal keys in YAML": {"a: 1\nb: 2\na: 3\n", "{a:3 b:2 }"},
		"alias":              {"a: &x [1]\nb: *x\n", "{a:[1 ] b:[1 ] }"},
		"surrogates of JSON": {`{"a": "\ud83d\ude00"}`, "{a:'😀' }"},
		"flow YAML":          {"{a: 1}", "{a:1 }"},
		"tags":               {"a: !ruby/object:Evil {b: !x c}\n", "{a:{b:'c' } }"},
		"date":               {"a: 2013-02-14\n", "{a:'2013-02-14' }"},
		"yes is text":        {"a: yes\n", "{a:'yes' }"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := loose.Parse([]byte(test.in))
			require.NoError(t, err)
			assert.Equal(t, test.want, shown(v))
		})
	}
}

func TestRefusedDocuments(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for last := byte('a'); last < 'i'; last++ {
		line := string(last+1) + ": &" + string(last+1) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(last)+",", 10), ",") + "]\n"
		bomb += line
	}
	for name, in := range map[string]string{
		"alias bomb":    bomb,
		"circle":        "a: &a [*a]\n",
		"deep JSON":     `{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + "}",
		"many values":   `{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 200_000), ",") + "]}",
		"too many keys": "{" + manyKeys(60_000) + "}",
		"large":         strings.Repeat("#", loose.MaxBytes+1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loose.Parse([]byte(in))
			require.ErrorIs(t, err, loose.ErrLimit)
		})
	}
	_, err := loose.JSON([]byte(`{"a": [1`))
	require.ErrorIs(t, err, loose.ErrCutShort)
	for _, in := range []string{`{"a": 1} 2`, `{"a" 1}`, `]`} {
		_, err := loose.JSON([]byte(in))
		require.Error(t, err, in)
		require.NotErrorIs(t, err, loose.ErrCutShort, in)
	}
	_, err = loose.YAML([]byte("a: [1"))
	require.Error(t, err)
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(`"` + strings.Repeat("k", 1+i%3) + string(rune('a'+i%26)) + strings.Repeat("x", i%7) + string(rune(0x4e00+i%20000)) + `":1`)
	}
	return b.String()
}

func TestScalars(t *testing.T) {
	v, err := loose.Parse([]byte(`{"n": 12, "text": "12", "float": 1.5, "no": false, "yes": true, "null": null}`))
	require.NoError(t, err)
	for _, key := range []string{"n", "text"} {
		n, ok := v.Get(key).Int()
		assert.True(t, ok, key)
		assert.Equal(t, 12, n, key)
	}
	for _, key := range []string{"float", "no", "null", "absent"} {
		_, ok := v.Get(key).Int()
		assert.False(t, ok, key)
	}
	assert.True(t, v.Get("no").IsFalse())
	assert.False(t, v.Get("null").IsFalse())
	assert.True(t, v.Get("yes").IsTrue())
	assert.True(t, v.Has("null"))
	assert.False(t, v.Has("absent"))
}

func FuzzParse(f *testing.F) {
	for _, in := range []string{`{"a": [1, "x", null]}`, "a: &x [1]\nb: *x\n", "- 1\n- {a: b}\n", "<<: *x", "a: &a [*a]"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := loose.Parse(data)
		if err != nil && v.Kind() != loose.Null {
			t.Errorf("an error comes with a value of kind %d", v.Kind())
		}
		_ = shown(v)
	})
}
