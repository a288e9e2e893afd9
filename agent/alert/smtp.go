package alert

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// Limits of a session.
const (
	maxMail        = 1 << 20 // bytes (Ruby agent)
	maxCommandLine = 1 << 10 // bytes
	maxCommands    = 10_000  // in one session
)

// SMTPConfig says how mails are taken.
type SMTPConfig struct {
	Address string // where Run listens; default 127.0.0.1:2825

	// User and Password, when both are set, are asked for by AUTH PLAIN before any mail is taken, as the Ruby agent does.
	User, Password string

	// IdleTime is how long a session may be silent; default 10 s (Ruby agent).
	IdleTime time.Duration

	// Take gets each mail, headers and body. It may be called by several sessions at once and must return soon. The mail
	// is acknowledged whatever becomes of it, because monit sends what is not again and again. Required.
	Take func(ctx context.Context, mail []byte)

	Logger *slog.Logger // nil discards
}

// SMTP is a small mail server for the loopback interface: enough for monit, and for anyone else who wants to report.
// It speaks plain SMTP, takes mails of 1 MiB for any recipient, several in a session, and relays nothing.
type SMTP struct {
	cfg SMTPConfig
	log *slog.Logger
}

// NewSMTP returns a server that Run starts.
func NewSMTP(cfg SMTPConfig) (*SMTP, error) {
	if cfg.Take == nil {
		return nil, errors.New("alert: SMTPConfig.Take is missing: it says where mails go")
	}
	if (cfg.User == "") != (cfg.Password == "") {
		return nil, errors.New("alert: SMTPConfig needs both User and Password, or neither")
	}
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:2825"
	}
	if cfg.IdleTime <= 0 {
		cfg.IdleTime = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &SMTP{cfg, cfg.Logger}, nil
}

// Run listens and serves until ctx ends, and returns when all sessions have ended.
func (s *SMTP) Run(ctx context.Context) error {
	l, err := listen(ctx, s.cfg.Address)
	if err != nil {
		return err
	}
	return s.Serve(ctx, l)
}

// Serve is Run with a listener of the caller's, which it closes.
func (s *SMTP) Serve(ctx context.Context, l net.Listener) error {
	return serve(ctx, l, s.log, func(ctx context.Context, conn net.Conn) {
		session := &smtpSession{SMTP: s, conn: conn, allowed: s.cfg.User == ""}
		session.lines = bufio.NewReaderSize(session, maxCommandLine)
		session.text = textproto.NewReader(session.lines)
		if err := session.run(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, io.EOF) {
			s.log.Info("alert.smtp.ended", "error", err)
		}
	})
}

// An smtpSession is one connection.
type smtpSession struct {
	*SMTP
	conn    net.Conn
	lines   *bufio.Reader
	text    *textproto.Reader
	allowed bool // authentication is done, or not asked for
	from    bool // MAIL was said
	to      bool // RCPT was said
}

// Read implements io.Reader: the peer may be silent for IdleTime.
func (s *smtpSession) Read(p []byte) (int, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(s.cfg.IdleTime)); err != nil {
		return 0, err
	}
	return s.conn.Read(p)
}

func (s *smtpSession) say(lines ...string) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.cfg.IdleTime)); err != nil {
		return err
	}
	_, err := io.WriteString(s.conn, strings.Join(lines, "\r\n")+"\r\n")
	return err
}

// errQuit: the peer has said good-bye.
var errQuit = errors.New("quit")

func (s *smtpSession) run(ctx context.Context) error {
	if err := s.say("220 BOSH Agent SMTP Server"); err != nil {
		return err
	}
	for range maxCommands {
		line, err := s.command()
		if err != nil {
			return err
		}
		verb, argument, _ := strings.Cut(line, " ")
		if err := s.obey(ctx, strings.ToUpper(verb), strings.TrimSpace(argument)); err != nil {
			if errors.Is(err, errQuit) {
				return nil
			}
			return err
		}
	}
	return s.say("421 Too many commands")
}

// command reads a line. One that is too long ends the session.
func (s *smtpSession) command() (string, error) {
	line, err := s.lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errors.Join(errors.New("a line is too long"), s.say("500 Line too long"))
	}
	return strings.TrimRight(string(line), "\r\n"), err
}

func (s *smtpSession) obey(ctx context.Context, verb, argument string) error {
	switch verb {
	case "EHLO":
		s.from, s.to = false, false
		if s.cfg.User != "" {
			return s.say("250-localhost", "250 AUTH PLAIN")
		}
		return s.say("250 localhost")
	case "HELO", "RSET", "NOOP":
		s.from, s.to = s.from && verb == "NOOP", s.to && verb == "NOOP"
		return s.say("250 OK")
	case "AUTH":
		return s.authenticate(argument)
	case "QUIT":
		return errors.Join(s.say("221 Bye"), errQuit)
	case "MAIL":
		if !s.allowed {
			return s.say("530 Authentication required")
		}
		s.from = true
		return s.say("250 OK")
	case "RCPT":
		if !s.from {
			return s.say("503 MAIL comes first")
		}
		s.to = true
		return s.say("250 OK")
	case "DATA":
		if !s.to {
			return s.say("503 RCPT comes first")
		}
		return s.data(ctx)
	}
	return s.say("502 Command not implemented")
}

// authenticate takes AUTH PLAIN with the response in the same line or in the next one.
func (s *smtpSession) authenticate(argument string) error {
	mechanism, response, _ := strings.Cut(argument, " ")
	if s.cfg.User == "" || !strings.EqualFold(mechanism, "PLAIN") {
		return s.say("504 Unrecognized authentication type")
	}
	if response == "" {
		if err := s.say("334 "); err != nil {
			return err
		}
		var err error
		if response, err = s.command(); err != nil {
			return err
		}
	}
	given, err := base64.StdEncoding.DecodeString(response)
	_, given, found := bytes.Cut(given, []byte{0}) // whom to act as is no matter
	want := []byte(s.cfg.User + "\x00" + s.cfg.Password)
	if err != nil || !found || !same(given, want) {
		s.log.Warn("alert.smtp.refused", "reason", "wrong user or password")
		return s.say("535 Authentication failed")
	}
	s.allowed = true
	return s.say("235 Authentication successful")
}

// same compares in a time that tells nothing about want.
func same(given, want []byte) bool {
	a, b := sha256.Sum256(given), sha256.Sum256(want)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// data takes one mail. Of one that is too long all is read and nothing taken.
func (s *smtpSession) data(ctx context.Context) error {
	s.from, s.to = false, false
	if err := s.say("354 End data with <CR><LF>.<CR><LF>"); err != nil {
		return err
	}
	body := s.text.DotReader()
	mail, err := io.ReadAll(io.LimitReader(body, maxMail+1))
	if err != nil {
		return err
	}
	if len(mail) > maxMail {
		s.log.Warn("alert.mail.refused", "reason", "it is longer than 1 MiB")
		if n, err := io.CopyN(io.Discard, body, 64*maxMail); err != nil && !errors.Is(err, io.EOF) || n == 64*maxMail {
			return errors.Join(err, s.say("552 Message too large"), errors.New("the mail does not end"))
		}
		return s.say("552 Message too large")
	}
	s.cfg.Take(ctx, mail)
	return s.say("250 OK")
}
