package tap

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLine(t *testing.T) {
	at := time.Date(2014, 2, 28, 23, 13, 8, 45e6, time.UTC)
	for _, tc := range []struct {
		rec    record
		colour bool
		want   string
	}{
		{record{Subject: "x", Bytes: 0}, false, "? -> ?  x"},
		{record{Subject: "x", Bytes: 7}, false, "? -> ?  x  (7 bytes, not JSON)"},
		{record{Subject: "x", From: "A", To: "B", Message: []byte("{}")}, false, "A -> B  x  {}"},
		{record{Subject: "_INBOX.1", AnswerTo: "x", Message: []byte("{}")}, false, "? -> ?  answer to x  {}"},
		{record{Subject: "x", Problem: "is empty"}, false, "? -> ?  x  INVALID: is empty"},
		{record{Subject: "x", Problem: "is empty"}, true, "\x1b[2m? -> ?\x1b[0m  \x1b[36mx\x1b[0m  \x1b[1;31mINVALID: is empty\x1b[0m"},

		// Nothing that comes from the bus steers the terminal.
		{record{Subject: "x\x1b[2J"}, false, `? -> ?  x\u001b[2J`},
		{record{Subject: "x", AnswerTo: "y\r"}, false, `? -> ?  answer to y\u000d`},
		{record{Subject: "x", Problem: "a\u009b\n"}, false, `? -> ?  x  INVALID: a\u009b\u000a`},
		{record{Subject: "x", Message: []byte("\"\u202e\U000e0001ä\"")}, false, `? -> ?  x  "\u202e\udb40\udc01ä"`},
	} {
		tc.rec.Time = at
		assert.Equal(t, "23:13:08.045  "+tc.want+"\n", tc.rec.line(tc.colour))
	}
}

func TestJSONLine(t *testing.T) {
	rec := record{Subject: "x\x1b", Reply: "<r>", Bytes: 9, Message: []byte("{\"a\":\"\u202e\U000e0001\"}")}
	line, err := rec.json()
	require.NoError(t, err)
	assert.Equal(t, `{"time":"0001-01-01T00:00:00Z","subject":"x\u001b","reply":"<r>","bytes":9,"message":{"a":"\u202e\udb40\udc01"}}`+"\n", line)
	var back record
	require.NoError(t, json.Unmarshal([]byte(line), &back))
	assert.Equal(t, rec.Subject, back.Subject)
}

func TestRequestsAreBounded(t *testing.T) {
	var r requests
	for i := range 3 * maxRequests {
		r.add(fmt.Sprint("inbox", i), request{subject: fmt.Sprint(i)})
		r.add("again", request{subject: fmt.Sprint("again ", i)})
	}
	assert.Len(t, r.byReply, maxRequests)
	assert.Len(t, r.order, maxRequests)
	last, ok := r.find(fmt.Sprint("inbox", 3*maxRequests-1))
	assert.True(t, ok)
	assert.Equal(t, fmt.Sprint(3*maxRequests-1), last.subject)
	_, ok = r.find("inbox0")
	assert.False(t, ok)
	again, ok := r.find("again")
	assert.True(t, ok)
	assert.Equal(t, fmt.Sprint("again ", 3*maxRequests-1), again.subject)
}
