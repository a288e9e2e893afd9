package transport_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/transport"
)

const (
	tooLong = `{"exception":{"message":"Response exceeded maximum allowed length"}}`
	marker  = "\n...[truncated]...\n"
)

// shortened is an error with a shorter text.
type shortened struct{ long, short string }

func (e shortened) Error() string      { return e.long }
func (e shortened) ShortError() string { return e.short }

func message(t *testing.T, reply []byte) string {
	t.Helper()
	var read struct {
		Exception struct{ Message string }
	}
	require.NoError(t, json.Unmarshal(reply, &read), string(reply))
	return read.Exception.Message
}

func TestEncode(t *testing.T) {
	for want, reply := range map[string]transport.Reply{
		`{"value":"pong"}`:                   {Value: json.RawMessage(`"pong"`)},
		`{"value":null}`:                     {},
		`{"exception":{"message":"\u003c"}}`: {Err: errors.New("<")},
	} {
		assert.Equal(t, want, string(reply.Encode(0)))
		assert.Equal(t, want, string(reply.Encode(transport.MaxReply)))
	}
	assert.Contains(t, string(transport.Reply{Value: json.RawMessage(`{`)}.Encode(0)), `{"exception":`)
}

// A reply of exactly the limit passes; one byte more does not.
func TestLimit(t *testing.T) {
	const limit = transport.MaxReply
	value := func(n int) transport.Reply {
		return transport.Reply{Value: json.RawMessage(`"` + strings.Repeat("v", n) + `"`)}
	}
	overhead := len(value(0).Encode(0))
	assert.Len(t, value(limit-overhead).Encode(limit), limit)
	assert.Equal(t, tooLong, string(value(limit-overhead+1).Encode(limit)))
	assert.Len(t, value(limit-overhead+1).Encode(0), limit+1, "over HTTPS there is no limit")

	failure := func(n int) transport.Reply { return transport.Reply{Err: errors.New(strings.Repeat("e", n))} }
	overhead = len(failure(0).Encode(0))
	full := failure(limit - overhead).Encode(limit)
	assert.Len(t, full, limit)
	assert.NotContains(t, string(full), "truncated")
	cut := failure(limit - overhead + 1).Encode(limit)
	assert.LessOrEqual(t, len(cut), limit)
	assert.Greater(t, len(cut), limit-3, "no more is lost than has to be")
	head, tail, found := strings.Cut(message(t, cut), marker)
	assert.True(t, found)
	assert.Len(t, tail, len(head))
}

func TestShortTextComesFirst(t *testing.T) {
	long := strings.Repeat("x", 2000)
	assert.Equal(t, "brief", message(t, transport.Reply{Err: shortened{long, "brief"}}.Encode(1000)))
	assert.Equal(t, long, message(t, transport.Reply{Err: shortened{long, "brief"}}.Encode(0)))
	still := message(t, transport.Reply{Err: shortened{long, strings.Repeat("y", 1500)}}.Encode(1000))
	assert.Regexp(t, `^y+\n\.\.\.\[truncated\]\.\.\.\ny+$`, still)
}

func TestCutsFallBetweenCharacters(t *testing.T) {
	for _, unit := range []string{"ä", "€", "😀", "\n", "\x00", `"`, "<", "\u2028", "\xff", "a\xe2\x82"} {
		for limit := 120; limit < 140; limit++ {
			got := transport.Reply{Err: errors.New(strings.Repeat(unit, 500))}.Encode(limit)
			require.LessOrEqual(t, len(got), limit)
			require.True(t, utf8.Valid(got))
			require.Contains(t, message(t, got), marker)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("", 100)
	f.Add(strings.Repeat("€\n<\x00", 100), 150)
	f.Add(strings.Repeat("\xe2\x82", 100), 99)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(limit, len(tooLong))
		got := transport.Reply{Err: errors.New(text)}.Encode(limit)
		require.LessOrEqual(t, len(got), limit)
		require.True(t, utf8.Valid(got))
		have, want := message(t, got), strings.ToValidUTF8(text, "\ufffd")
		if head, tail, cut := strings.Cut(have, marker); cut && have != want {
			require.True(t, strings.HasPrefix(want, head))
			require.True(t, strings.HasSuffix(want, tail))
			return
		}
		if string(got) != tooLong {
			// Each byte that is wrong is replaced, not each run of them.
			require.True(t, utf8.ValidString(have))
		}
	})
}

func FuzzDecodeRequest(f *testing.F) {
	for _, seed := range []string{`{"method":"ping","arguments":[],"reply_to":"r.1"}`, `{"protocol":"3"}`, `[]`, `null`, `{"METHOD":1}`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		request, err := transport.DecodeRequest(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(request.AgentRequest)
		require.NoError(t, err)
		second, err := transport.DecodeRequest(again)
		require.NoError(t, err)
		require.Equal(t, request.Method, second.Method)
		require.Equal(t, request.Protocol, second.Protocol)
		require.Equal(t, request.ReplyTo, second.ReplyTo)
	})
}
