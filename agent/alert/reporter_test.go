package alert_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/alert"
	"github.com/deakit/deakit/messaging"
)

// A mail delivered to the SMTP port becomes an alert, or none, by its event.
func TestReporter(t *testing.T) {
	sent := make(chan messaging.AgentAlert, 10)
	var log bytes.Buffer
	reporter := alert.Reporter{
		Addresses: func() []string { return []string{"10.1.0.3", "10.0.0.21"} },
		Send: func(a messaging.AgentAlert) error {
			_, err := messaging.HMAgentAlert("a").Encode(a)
			sent <- a
			return err
		},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	done := make(chan bool, 10)
	server, err := alert.NewSMTP(alert.SMTPConfig{Take: func(ctx context.Context, mail []byte) {
		reporter.Mail(ctx, mail)
		done <- true
	}})
	require.NoError(t, err)
	c := dial(t, runs(t, server.Serve))
	c.hears("220")
	for mail, want := range map[string]int{
		monitMail: 1,
		strings.Replace(monitMail, "does not exist", "Resource limit matched", 1): 3,
		strings.Replace(monitMail, "does not exist", "Moon eclipsed", 1):          2,
		strings.Replace(monitMail, "does not exist", "PID changed", 1):            4,
		strings.Replace(monitMail, "does not exist", "Exists", 1):                 -1,
		strings.Replace(monitMail, "does not exist", "Connection succeeded", 1):   -1,
		"Hello": -1,
	} {
		c.say("MAIL FROM:<monit@localhost>", "250")
		c.say("RCPT TO:<agent@local>", "250")
		c.say("DATA", "354")
		c.say(mail+"\r\n.", "250") // whatever becomes of it
		<-done
		if want < 0 {
			assert.Empty(t, sent)
			continue
		}
		told := <-sent
		assert.Equal(t, want, told.Severity)
		assert.Equal(t, "1304319946.0@localhost", told.ID)
		assert.True(t, strings.HasPrefix(told.Title, "nats (10.0.0.21, 10.1.0.3) - "), told.Title)
	}
	assert.Contains(t, log.String(), "alert.mail.refused")

	reporter.Event(alert.Event{Service: "a", Event: "timeout", Action: "alert"})
	assert.Len(t, (<-sent).ID, 36, "an event without id gets one")
	reporter.Login(t.Context(), messaging.AgentAlert{})
	assert.Contains(t, log.String(), "alert.send.failed")
	<-sent
	failing := alert.Reporter{Send: func(messaging.AgentAlert) error { return errors.New("no") }}
	failing.Event(alert.Event{Service: "a", Event: "timeout"}) // nobody listens, and nothing happens
}

// pipes is a listener that has one connection.
type pipes struct {
	conns chan net.Conn
}

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// FuzzSMTP says anything to the server: it answers in the form of SMTP, takes no mail that is too long, and ends.
func FuzzSMTP(f *testing.F) {
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nService: x\r\n.\r\nQUIT\r\n"))
	f.Add([]byte("AUTH PLAIN\r\n!\r\nDATA\r\n\x00\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		server, err := alert.NewSMTP(alert.SMTPConfig{User: "vcap", Password: "pw", IdleTime: time.Minute, Take: func(_ context.Context, mail []byte) {
			t.Errorf("a mail of %d bytes was taken without password", len(mail))
		}})
		require.NoError(t, err)
		ours, theirs := net.Pipe()
		l := pipes{make(chan net.Conn, 1)}
		l.conns <- theirs
		close(l.conns)
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(t.Context(), l) }()
		answers := make(chan string, 1)
		go func() {
			all, _ := io.ReadAll(ours)
			answers <- string(all)
		}()
		_, _ = ours.Write(data) // the server may hang up before it has read all
		_, _ = ours.Write([]byte("\r\nQUIT\r\n"))
		all := <-answers
		require.ErrorIs(t, <-ended, net.ErrClosed)
		require.NoError(t, ours.Close())
		for line := range strings.Lines(all) {
			require.Regexp(t, `^[2-5]\d\d[ -].*\r\n$`, line)
		}
	})
}
