package alert_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/smtp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/alert"
	"github.com/deakit/deakit/messaging"
)

// runs serves on a free port until the test ends, and returns the address.
func runs(t *testing.T, serve func(context.Context, net.Listener) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	return l.Addr().String()
}

type mails chan string

func (m mails) take(_ context.Context, mail []byte) { m <- string(mail) }

func newSMTP(t *testing.T, cfg alert.SMTPConfig) (*alert.SMTP, mails) {
	t.Helper()
	box := make(mails, 100)
	cfg.Take = box.take
	server, err := alert.NewSMTP(cfg)
	require.NoError(t, err)
	return server, box
}

func TestSMTP(t *testing.T) {
	server, box := newSMTP(t, alert.SMTPConfig{})
	address := runs(t, server.Serve)
	// A client of Go's, which is not ours.
	require.NoError(t, smtp.SendMail(address, nil, "monit@localhost", []string{"agent@local"}, []byte(monitMail)))
	have, err := alert.ParseMail([]byte(<-box), time.Now())
	require.NoError(t, err)
	assert.Equal(t, "nats", have.Service)
	assert.Equal(t, "1304319946.0@localhost", have.ID)
}

// a talk is an SMTP session, line by line.
type talk struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, address string) *talk {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return &talk{t, conn, bufio.NewReader(conn)}
}

func (c *talk) hears(want string) {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	require.NoError(c.t, err)
	assert.Contains(c.t, line, want)
}

func (c *talk) say(line, want string) {
	c.t.Helper()
	_, err := io.WriteString(c, line+"\r\n")
	require.NoError(c.t, err)
	c.hears(want)
}

func TestSMTPSeveralMailsInASession(t *testing.T) {
	server, box := newSMTP(t, alert.SMTPConfig{})
	c := dial(t, runs(t, server.Serve))
	c.hears("220 BOSH Agent SMTP Server")
	c.say("HELO localhost", "250")
	c.say("RCPT TO:<x>", "503")
	c.say("DATA", "503")
	for i := range 3 {
		c.say("MAIL FROM:<monit@localhost>", "250")
		c.say("rcpt to:<agent@local>", "250")
		c.say("DATA", "354")
		c.say(fmt.Sprintf("Service: s%d\r\n..dot\r\n.", i), "250")
		assert.Equal(t, fmt.Sprintf("Service: s%d\n.dot\n", i), <-box)
	}
	c.say("MAIL FROM:<monit@localhost>", "250")
	c.say("RSET", "250")
	c.say("RCPT TO:<x>", "503")
	c.say("NOOP", "250")
	c.say("VRFY root", "502")
	c.say("AUTH PLAIN x", "504")
	c.say("QUIT", "221")
	_, err := c.lines.ReadByte()
	assert.ErrorIs(t, err, io.EOF)
}

func TestSMTPAuthentication(t *testing.T) {
	var log bytes.Buffer
	server, box := newSMTP(t, alert.SMTPConfig{User: "vcap", Password: "0123456789abcdef", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() { assert.NoError(t, server.Serve(ctx, l)) })
	c := dial(t, l.Addr().String())
	c.hears("220")
	c.say("EHLO localhost", "250-localhost")
	c.hears("250 AUTH PLAIN")
	c.say("MAIL FROM:<monit@localhost>", "530")
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, wrong := range []string{"\x00vcap\x00wrong-word", "\x00root\x000123456789abcdef", "\x00vcap", "", "vcap"} {
		c.say("AUTH PLAIN", "334")
		c.say(encode(wrong), "535")
	}
	c.say("AUTH PLAIN !!", "535")
	c.say("AUTH LOGIN", "504")
	c.say("MAIL FROM:<monit@localhost>", "530")
	c.say("AUTH PLAIN "+encode("\x00vcap\x000123456789abcdef"), "235")
	c.say("MAIL FROM:<monit@localhost>", "250")
	c.say("RCPT TO:<bosh@localhost>", "250")
	c.say("DATA", "354")
	c.say("Service: x\r\n.", "250")
	assert.Equal(t, "Service: x\n", <-box)
	cancel()
	work.Wait()
	assert.NotContains(t, log.String(), "wrong-word")
	assert.NotContains(t, log.String(), "0123456789abcdef")

	_, err = alert.NewSMTP(alert.SMTPConfig{User: "vcap", Take: box.take})
	require.ErrorContains(t, err, "Password")
	_, err = alert.NewSMTP(alert.SMTPConfig{})
	require.ErrorContains(t, err, "Take")
}

func TestSMTPLimits(t *testing.T) {
	server, box := newSMTP(t, alert.SMTPConfig{IdleTime: time.Hour})
	address := runs(t, server.Serve)

	c := dial(t, address)
	c.hears("220")
	c.say("MAIL FROM:<a>", "250")
	c.say("RCPT TO:<b>", "250")
	c.say("DATA", "354")
	line := strings.Repeat("x", 1022) + "\r\n"
	c.say(strings.Repeat(line, 1100)+".", "552 Message too large")
	c.say("MAIL FROM:<a>", "250") // the session goes on
	assert.Empty(t, box)

	long := dial(t, address)
	long.hears("220")
	long.say(strings.Repeat("x", 2000), "500")

	impatient, _ := newSMTP(t, alert.SMTPConfig{IdleTime: 50 * time.Millisecond})
	silent := dial(t, runs(t, impatient.Serve))
	silent.hears("220")
	_, err := silent.lines.ReadByte() // the server hangs up
	require.ErrorIs(t, err, io.EOF)

	var open []*talk
	for range 40 {
		open = append(open, dial(t, address))
	}
	refused := 0
	for _, c := range open {
		if _, err := c.lines.ReadByte(); err != nil {
			refused++
		}
	}
	assert.GreaterOrEqual(t, refused, 40-16, "no more than 16 sessions at a time")
}

// The end of the server cuts sessions that go on.
func TestSMTPEnds(t *testing.T) {
	server, _ := newSMTP(t, alert.SMTPConfig{IdleTime: time.Hour})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	c := dial(t, l.Addr().String())
	c.hears("220")
	cancel()
	require.NoError(t, <-ended)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	second, _ := newSMTP(t, alert.SMTPConfig{Address: taken.Addr().String()})
	require.ErrorContains(t, second.Run(t.Context()), taken.Addr().String())
}

func TestSSH(t *testing.T) {
	alerts := make(chan messaging.AgentAlert, 100)
	listener, err := alert.NewSSH(alert.SSHConfig{Take: func(_ context.Context, a messaging.AgentAlert) { alerts <- a }})
	require.NoError(t, err)
	c := dial(t, runs(t, listener.Serve))
	_, err = io.WriteString(c, "<86>May 13 10:00:00 host cron[1]: nothing\n"+
		strings.Repeat("x", 40_000)+" Accepted publickey for nobody\n"+
		"<86>May 13 10:00:00 host sshd[2]: Accepted publickey for vcap from 10.0.0.1\n"+
		"<86>May 13 10:00:00 host sshd[2]: Failed password for root\n")
	require.NoError(t, err)
	first, second := <-alerts, <-alerts
	assert.Equal(t, []string{"SSH Login", "SSH Access Denied"}, []string{first.Title, second.Title})
	assert.Equal(t, "Accepted publickey for vcap from 10.0.0.1", first.Summary)
	_, err = alert.NewSSH(alert.SSHConfig{})
	require.ErrorContains(t, err, "Take")
}
