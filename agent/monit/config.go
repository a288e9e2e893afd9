package monit

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/deakit/deakit/internal/atomicfile"
)

// userFile is where monit and the agent find user and password, below the base directory.
const userFile = "monit/monit.user"

// maxUserFile bounds it, in bytes.
const maxUserFile = 4 << 10

// ReadUser reads user and password from base/monit/monit.user: of the first line that has both, one of the user vcap if there is one.
func ReadUser(base string) (user, password string, err error) {
	root, err := os.OpenRoot(base)
	if err != nil {
		return "", "", fmt.Errorf("read monit's user: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(userFile)
	if err == nil && info.Size() > maxUserFile {
		err = fmt.Errorf("%s has more than %d bytes", userFile, maxUserFile)
	}
	if err != nil {
		return "", "", fmt.Errorf("read monit's user: %w", err)
	}
	data, err := root.ReadFile(userFile)
	if err != nil {
		return "", "", fmt.Errorf("read monit's user: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		name, word, found := strings.Cut(strings.TrimSpace(line), ":")
		if found && name != "" && word != "" && (user == "" || name == "vcap" && user != "vcap") {
			user, password = name, word
		}
	}
	if user == "" {
		return "", "", fmt.Errorf("read monit's user: %s has no line of the form user:password", userFile)
	}
	return user, password, nil
}

// EnsureUser is ReadUser, and makes the file with user vcap and a random password if there is none.
func EnsureUser(base string) (user, password string, err error) {
	user, password, err = ReadUser(base)
	if !errors.Is(err, fs.ErrNotExist) {
		return user, password, err
	}
	user, password = "vcap", NewPassword()
	return user, password, write(base, userFile, []byte(user+":"+password+"\n"))
}

// NewPassword returns 16 random hexadecimal digits.
func NewPassword() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// write replaces a file below base that only root reads.
func write(base, name string, data []byte) error {
	root, err := os.OpenRoot(base)
	if err != nil {
		return fmt.Errorf("configure monit: %w", err)
	}
	defer root.Close()
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("configure monit: %w", err)
	}
	if err := atomicfile.UpdateFileIn(root, name, data, 0o600); err != nil {
		return fmt.Errorf("configure monit: %w", err)
	}
	return nil
}

// Config is what monit itself is told.
type Config struct {
	Base  string        // base directory of the agent, "/var/vcap"; required
	Port  int           // where monit answers on 127.0.0.1; default 2822
	Cycle time.Duration // how often it looks at services, in whole seconds; default 10 s
}

// daemonConfig has the seconds of a cycle, the base directory and the port.
const daemonConfig = `set daemon %[1]d
set logfile "%[2]s/monit/monit.log"
set pidfile "%[2]s/monit/monit.pid"
set statefile "%[2]s/monit/monit.state"
set idfile "%[2]s/monit/monit.id"

set httpd port %[3]d and use address 127.0.0.1
  allow cleartext "%[2]s/monit/monit.user"

include "%[2]s/monit/*.monitrc"
include "%[2]s/monit/job/*.monitrc"
`

// WriteConfig writes the file that a monit is started with, base/bosh/etc/monitrc, as stemcells have it, and returns its path. What
// an agent adds later, it includes.
func WriteConfig(cfg Config) (string, error) {
	if cfg.Port == 0 {
		cfg.Port = 2822
	}
	if cfg.Cycle == 0 {
		cfg.Cycle = 10 * time.Second
	}
	if err := quotable(cfg.Base); err != nil {
		return "", err
	}
	if cfg.Cycle < time.Second {
		return "", errors.New("configure monit: Cycle must be a second at least")
	}
	const name = "bosh/etc/monitrc"
	return filepath.Join(cfg.Base, name), write(cfg.Base, name, fmt.Appendf(nil, daemonConfig, int(cfg.Cycle/time.Second), cfg.Base, cfg.Port))
}

// AlertConfig says where monit sends its alerts.
type AlertConfig struct {
	Base           string // base directory of the agent; required
	Port           int    // of the agent's mail server on 127.0.0.1; default 2825
	User, Password string // for it; empty: it asks for none
	Recipient      string // default agent@local (Go agent)
}

// alertConfig has the recipient, the port, the credentials and the base directory.
const alertConfig = `set alert %s
set mailserver 127.0.0.1 port %d
%s
set eventqueue
    basedir "%s/monit/events"
    slots 5000

set mail-format {
  from: monit@localhost
  subject: Monit Alert
  message: Service: $SERVICE
Event: $EVENT
Action: $ACTION
Date: $DATE
Description: $DESCRIPTION
}
`

// WriteAlertConfig has monit send its alerts to the agent, from its next start or reload on: base/monit/alerts.monitrc.
func WriteAlertConfig(cfg AlertConfig) error {
	if cfg.Port == 0 {
		cfg.Port = 2825
	}
	if cfg.Recipient == "" {
		cfg.Recipient = "agent@local"
	}
	for _, value := range []string{cfg.Base, cfg.User, cfg.Password} {
		if err := quotable(value); err != nil {
			return err
		}
	}
	if strings.ContainsAny(cfg.Recipient, " \t\r\n\"'{}") {
		return errors.New("configure monit: Recipient is no mail address")
	}
	var credentials string
	if cfg.User != "" {
		credentials = fmt.Sprintf("    username \"%s\" password \"%s\"\n", cfg.User, cfg.Password)
	}
	if err := os.MkdirAll(filepath.Join(cfg.Base, "monit/events"), 0o700); err != nil {
		return fmt.Errorf("configure monit: %w", err)
	}
	return write(cfg.Base, "monit/alerts.monitrc", fmt.Appendf(nil, alertConfig, cfg.Recipient, cfg.Port, credentials, cfg.Base))
}

// RemoveAlertConfig has monit send no alerts, from its next start or reload on: those of an earlier agent would wait for nobody.
func RemoveAlertConfig(base string) error {
	err := os.Remove(filepath.Join(base, "monit/alerts.monitrc"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("configure monit: %w", err)
	}
	return nil
}

// quotable checks what stands between quotes in monit's language, which has no escapes.
func quotable(value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == '"' }) {
		return errors.New("configure monit: paths, users and passwords must not have quotes and line feeds")
	}
	return nil
}
