package monit_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/monit"
)

func TestUser(t *testing.T) {
	base := t.TempDir()
	_, _, err := monit.ReadUser(base)
	require.ErrorIs(t, err, fs.ErrNotExist)
	user, password, err := monit.EnsureUser(base)
	require.NoError(t, err)
	assert.Equal(t, "vcap", user)
	assert.Regexp(t, "^[0-9a-f]{16}$", password)
	again, same, err := monit.EnsureUser(base)
	require.NoError(t, err)
	assert.Equal(t, []string{user, password}, []string{again, same})
	name := filepath.Join(base, "monit/monit.user")
	info, err := os.Stat(name)
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode())
	for text, want := range map[string]string{
		"vcap:random-password":            "vcap:random-password",
		"# x\n\nadmin:a\nvcap:b:c\nx:y\n": "vcap:b:c",
		"admin:a":                         "admin:a",
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		user, password, err = monit.ReadUser(base)
		require.NoError(t, err)
		assert.Equal(t, want, user+":"+password)
	}
	for _, text := range []string{"", "secretword", strings.Repeat("x", 10_000)} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		_, _, err = monit.EnsureUser(base)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "secretword")
	}
}

func TestWriteAlertConfig(t *testing.T) {
	base := t.TempDir()
	require.NoError(t, monit.WriteAlertConfig(monit.AlertConfig{Base: base, Port: 2830, User: "vcap", Password: "0f", Recipient: "bosh@localhost"}))
	name := filepath.Join(base, "monit/alerts.monitrc")
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	assert.Equal(t, `set alert bosh@localhost
set mailserver 127.0.0.1 port 2830
    username "vcap" password "0f"

set eventqueue
    basedir "`+base+`/monit/events"
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
`, string(text))
	info, err := os.Stat(name)
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode())
	for _, bad := range []monit.AlertConfig{{Base: base, User: `a"b`, Password: "x"}, {Base: base, Recipient: "a b"}, {Base: base + "\n"}, {Base: base + "/none/at/all\x00"}} {
		require.Error(t, monit.WriteAlertConfig(bad))
	}
	_, err = monit.WriteConfig(monit.Config{Base: base, Cycle: time.Millisecond})
	require.ErrorContains(t, err, "Cycle")
}
