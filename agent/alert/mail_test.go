package alert_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/alert"
)

const monitMail = "From: <monit@localhost>\r\nTo: agent@local\r\nSubject: Monit Alert\r\nDate: Sun, 01 May 2011 17:45:45 -0900\r\n" +
	"X-Mailer: Monit 5.2.4\r\nMessage-id: <1304319946.0@localhost>\r\n\r\n" +
	"Service: nats\nEvent: does not exist\nAction: restart\nDate: Sun, 22 May 2011 20:07:41 +0500\nDescription: process is not running\n"

func TestParseMail(t *testing.T) {
	now := time.Unix(2e9, 0)
	full := alert.Event{
		ID: "1304319946.0@localhost", Service: "nats", Event: "does not exist", Action: "restart",
		Description: "process is not running", Time: time.Date(2011, 5, 2, 2, 45, 45, 0, time.UTC),
	}
	changed := func(change func(*alert.Event)) alert.Event {
		e := full
		change(&e)
		return e
	}
	for name, test := range map[string]struct {
		mail string
		want alert.Event
	}{
		"as monit writes it":      {monitMail, full},
		"names in any case":       {"message-ID: <1304319946.0@localhost>\n SERVICE:nats\n\tevent : does not exist\naction: restart\nDATE: Mon,  2 May 2011 02:45:45 GMT\ndescription: process is not running", full},
		"RFC 822":                 {strings.ReplaceAll(monitMail, "Sun, 01 May 2011 17:45:45 -0900", "02 May 11 02:45 +0000"), changed(func(e *alert.Event) { e.Time = time.Unix(1304304300, 0) })},
		"no date":                 {"Service: nats\nEvent: timeout", alert.Event{Service: "nats", Event: "timeout", Time: now}},
		"a bad date":              {"Service: nats\nEvent: timeout\nDate: yesterday", alert.Event{Service: "nats", Event: "timeout", Time: now}},
		"a description that lies": {monitMail + "Service: root\nEvent: exists\nMessage-id: <0>\n", full},
		"colons in a value":       {"Service: nats\nEvent: timeout\nDescription: a: b", alert.Event{Service: "nats", Event: "timeout", Description: "a: b", Time: now}},
	} {
		t.Run(name, func(t *testing.T) {
			have, err := alert.ParseMail([]byte(test.mail), now)
			require.NoError(t, err)
			assert.True(t, test.want.Time.Equal(have.Time), "%s, not %s", have.Time, test.want.Time)
			have.Time = test.want.Time
			assert.Equal(t, test.want, have)
		})
	}
	for _, mail := range []string{"", "Service: nats", "Event: timeout", "Service:\nEvent: timeout", "Hello, world"} {
		_, err := alert.ParseMail([]byte(mail), now)
		require.ErrorIs(t, err, alert.ErrMail, mail)
	}
}

func FuzzParseMail(f *testing.F) {
	f.Add([]byte(monitMail))
	f.Add([]byte("Service: \xff\x00\x07\nEvent: " + strings.Repeat("x", 10_000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		now := time.Unix(2e9, 0)
		e, err := alert.ParseMail(data, now)
		if err != nil {
			require.ErrorIs(t, err, alert.ErrMail)
			return
		}
		require.NotEmpty(t, e.Service)
		require.NotEmpty(t, e.Event)
		require.Positive(t, e.Time.Unix())
		for _, text := range []string{e.ID, e.Service, e.Event, e.Action, e.Description} {
			require.True(t, utf8.ValidString(text))
			require.LessOrEqual(t, len(text), 4<<10)
			require.NotContains(t, text, "\x00")
		}
	})
}

func TestFromSyslog(t *testing.T) {
	now := time.Unix(1_400_000_000, 0)
	const head = "<86>May 13 10:00:00 host sshd[4711]: "
	for line, want := range map[string]string{
		head + "Received disconnect from 10.0.0.1: 11: disconnected by user": "SSH Logout",
		head + "Accepted publickey for vcap from 10.0.0.1 port 1 ssh2":       "SSH Login",
		head + "Accepted password for vcap from 10.0.0.1 port 1 ssh2\r\n":    "SSH Login",
		head + "Failed password for vcap from 10.0.0.1 port 1 ssh2":          "SSH Access Denied",
		head + "Connection closed by 10.0.0.1 [preauth]":                     "SSH Access Denied",
		"Connection closed by 10.0.0.1 [preauth]":                            "SSH Access Denied",
	} {
		got, ok := alert.FromSyslog(line, now)
		require.True(t, ok, line)
		assert.Equal(t, want, got.Title, line)
		assert.Equal(t, 4, got.Severity)
		assert.Equal(t, now.Unix(), got.CreatedAt)
		assert.Equal(t, strings.TrimSpace(strings.TrimPrefix(line, head)), got.Summary)
		assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, got.ID)
		again, _ := alert.FromSyslog(line, now)
		assert.NotEqual(t, got.ID, again.ID)
	}
	for _, line := range []string{"", head, head + "session opened for user vcap", head + "Connection closed by 10.0.0.1"} {
		_, ok := alert.FromSyslog(line, now)
		assert.False(t, ok, line)
	}
}

func FuzzFromSyslog(f *testing.F) {
	f.Add("<86>May 13 10:00:00 host sshd[4711]: Accepted publickey for vcap")
	f.Fuzz(func(t *testing.T, line string) {
		got, ok := alert.FromSyslog(line, time.Unix(1, 0))
		if !ok {
			return
		}
		require.True(t, utf8.ValidString(got.Summary))
		require.Contains(t, []string{"SSH Login", "SSH Logout", "SSH Access Denied"}, got.Title)
	})
}
