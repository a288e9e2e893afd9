package tap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/examples/tap/internal/tap"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A message as it is published.
type message struct{ subject, reply, data string }

// listen returns what a Tap shows of the messages. They are all there before it begins to show them.
func listen(t *testing.T, opts tap.Options, messages ...message) (string, tap.Counts) {
	t.Helper()
	server := messagingtest.NewServer(t)
	conn, others := server.Connect(), server.Connect()
	opts.Now = func() time.Time { return time.Date(2014, 2, 28, 23, 13, 8, 0, time.UTC) }
	tapped, err := tap.New(conn, opts)
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	for _, m := range messages {
		require.NoError(t, others.PublishMsg(&nats.Msg{Subject: m.subject, Reply: m.reply, Data: []byte(m.data)}))
	}
	require.NoError(t, others.Flush())
	require.NoError(t, conn.Flush())
	var out bytes.Buffer
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	counts, err := tapped.Run(ended, &out)
	require.NoError(t, err)
	assert.Zero(t, conn.NumSubscriptions())
	return out.String(), counts
}

const found = `{"dea":"0-4f1c","droplet":"0e7b","version":"f31d","instance":"9be4","index":0,"state":"RUNNING","state_timestamp":1393629188.4,"staged":"/9be4","file_uri_v2":"http://10.0.0.1/i?hmac=12"}`

func conversation() []message {
	return []message{
		{"dea.stop", "", `{"droplet": "0e7b"}`},
		{"dea.stop", "", `{"version":"v"}`},
		{"dea.stop", "", `{"env":["SECRET`},
		{"dea.0-4f1c.start", "", `{"droplet":"0e7b","index":0,"env":["KEY=value"]}`},
		{"dea.locate", "", "anything"},
		{"dea.locate", "", ""},
		{"dea.find.droplet", "_INBOX.1", `{"droplet":"0e7b"}`},
		{"_INBOX.1", "", found},
		{"_INBOX.1", "", `{"dea":"http://u:p@h"}`},
		{"_INBOX.2", "", `{"nobody":"asked"}`},
		{"my.service", "_INBOX.3", `{"password":"x"}`},
		{"_INBOX.3", "", `{}`},
	}
}

func TestRun(t *testing.T) {
	out, counts := listen(t, tap.Options{}, conversation()...)
	assert.Equal(t, `23:13:08.000  Cloud Controller -> DEA, stager  dea.stop  {"droplet":"0e7b"}
23:13:08.000  Cloud Controller -> DEA, stager  dea.stop  INVALID: droplet is required  {"version":"v"}
23:13:08.000  Cloud Controller -> DEA, stager  dea.stop  INVALID: is not valid JSON: unexpected end of JSON input  (15 bytes, not JSON)
23:13:08.000  Cloud Controller -> DEA  dea.0-4f1c.start  INVALID: name is required; version is required; cc_partition is required; limits.mem is required and must be at least 0; limits.disk is required and must be at least 0; limits.fds is required and must be at least 0; services is required  {"droplet":"0e7b","index":0,"env":["KEY=…"]}
23:13:08.000  Cloud Controller -> DEA  dea.locate  (8 bytes, not JSON)
23:13:08.000  Cloud Controller -> DEA  dea.locate
23:13:08.000  Cloud Controller -> DEA  dea.find.droplet  {"droplet":"0e7b"}
23:13:08.000  DEA -> Cloud Controller  answer to dea.find.droplet  {"dea":"0-4f1c","droplet":"0e7b","version":"f31d","instance":"9be4","index":0,"state":"RUNNING","state_timestamp":1393629188.4,"staged":"/9be4","file_uri_v2":"http://10.0.0.1/i?hmac=…"}
23:13:08.000  DEA -> Cloud Controller  answer to dea.find.droplet  INVALID: droplet is required; instance is required; index is required and must be at least 0; state is not a known state  {"dea":"http://…@h"}
23:13:08.000  ? -> ?  _INBOX.2  {"nobody":"asked"}
23:13:08.000  ? -> ?  my.service  {"password":"…"}
23:13:08.000  ? -> ?  answer to my.service  {}
`, out)
	assert.Equal(t, tap.Counts{Messages: 12, Answers: 3, Invalid: 4, Unknown: 3}, counts)
	assert.Equal(t, "12 messages, of which 3 answers, 4 invalid, 3 of unknown type; 0 dropped", counts.String())
}

func TestOneSubjectBringsItsAnswers(t *testing.T) {
	for subject, want := range map[string]int{
		"dea.find.droplet": 3, // the request and two answers
		"dea.find.>":       3,
		"dea.*":            5,
		"my.service":       2,
		"_INBOX.*":         4,
		"*.*":              10, // hears the inboxes itself; no message twice
		"*":                0,
		">":                12,
	} {
		_, counts := listen(t, tap.Options{Subject: subject}, conversation()...)
		assert.Equal(t, want, counts.Messages, subject)
	}
}

func TestJSON(t *testing.T) {
	messages := []message{
		{"dea.find.droplet", "_INBOX.1", `{"droplet":"0e7b"}`}, {"_INBOX.1", "", `{}`}, {"x", "", "no\nJSON"},
	}
	out, _ := listen(t, tap.Options{JSON: true, Colour: true}, messages...)
	assert.Equal(t, `{"time":"2014-02-28T23:13:08Z","subject":"dea.find.droplet","from":"Cloud Controller","to":"DEA","purpose":"find instances, their figures and files","reply":"_INBOX.1","bytes":18,"message":{"droplet":"0e7b"}}
{"time":"2014-02-28T23:13:08Z","subject":"_INBOX.1","from":"DEA","to":"Cloud Controller","answer_to":"dea.find.droplet","bytes":2,"problem":"dea is required; droplet is required; instance is required; index is required and must be at least 0; state is not a known state","message":{}}
{"time":"2014-02-28T23:13:08Z","subject":"x","bytes":7}
`, out)
}

func TestShowSecrets(t *testing.T) {
	out, _ := listen(t, tap.Options{ShowSecrets: true}, message{"x", "", `{"credentials": {"uri":"http://u:p@h"}}`}, message{"x", "", "{"})
	assert.Contains(t, out, `{"credentials":{"uri":"http://u:p@h"}}`)
	assert.Contains(t, out, "(1 bytes, not JSON)")
}

func TestMessagesThatComeTooFastAreCounted(t *testing.T) {
	var messages []message
	for i := range 9000 {
		messages = append(messages, message{"x", "", fmt.Sprint(i)})
	}
	_, counts := listen(t, tap.Options{}, messages...)
	assert.Positive(t, counts.Dropped)
	assert.Equal(t, len(messages), counts.Messages+counts.Dropped)
}

// lines hands over what is written, as it is written.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestMessagesAreShownAsTheyCome(t *testing.T) {
	conn := messagingtest.NewServer(t).Connect()
	tapped, err := tap.New(conn, tap.Options{Subject: "x"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	out, done := make(lines, 1), make(chan error, 1)
	go func() {
		_, err := tapped.Run(ctx, out)
		done <- err
	}()
	for range 3 {
		require.NoError(t, conn.Publish("x", []byte("1")))
		require.NoError(t, conn.Publish("_INBOX.x", []byte("an answer to somebody else, which must not hold back a line")))
		assert.Contains(t, <-out, "? -> ?  x  1\n")
	}
	cancel()
	assert.NoError(t, <-done)
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestRunEndsWhenNobodyReads(t *testing.T) {
	conn := messagingtest.NewServer(t).Connect()
	tapped, err := tap.New(conn, tap.Options{})
	require.NoError(t, err)
	require.NoError(t, conn.Publish("x", nil))
	counts, err := tapped.Run(t.Context(), broken{})
	assert.ErrorIs(t, err, errBroken)
	assert.Equal(t, 1, counts.Messages)
	assert.Zero(t, conn.NumSubscriptions())
}

func TestNewRefusesBadSubjects(t *testing.T) {
	conn := messagingtest.NewServer(t).Connect()
	_, err := tap.New(conn, tap.Options{Subject: "a..b"})
	assert.ErrorIs(t, err, nats.ErrBadSubject)
	assert.Zero(t, conn.NumSubscriptions())
}
