package appenv_test

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/appenv"
	"github.com/deakit/deakit/messaging"
)

func services(t *testing.T, text string) messaging.Services {
	t.Helper()
	var s messaging.Services
	require.NoError(t, json.Unmarshal([]byte(text), &s))
	return s
}

func TestVCAPServices(t *testing.T) {
	for _, test := range []struct{ name, services, want string }{
		{"none", `[]`, `{}`},
		{"null", `null`, `{}`},
		{"only the seven keys, grouped by label in the order of the message", `[
			{"label":"pg-9.2","name":"b","tags":["x"],"plan":"free","plan_option":"p","credentials":{"password":"a<&>$'\"\\"},
			 "syslog_drain_url":"syslog://127.0.0.1:1","options":{},"provider":"core","version":"9.2","vendor":"pg","type":"db","volume_mounts":[]},
			{"label":"user-provided","name":"u","credentials":{}},
			{"label":"pg-9.2","name":"a"}]`,
			`{"pg-9.2":[{"name":"b","label":"pg-9.2","tags":["x"],"plan":"free","plan_option":"p",` +
				`"credentials":{"password":"a<&>$'\"\\"},"syslog_drain_url":"syslog://127.0.0.1:1"},` +
				`{"name":"a","label":"pg-9.2"}],"user-provided":[{"name":"u","label":"user-provided","credentials":{}}]}`},
		{"null and false count as absent", `[{"label":"l","name":"n","plan":null,"syslog_drain_url":false}]`,
			`{"l":[{"name":"n","label":"l"}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, appenv.VCAPServices(services(t, test.services)))
		})
	}
}

func TestDatabaseURL(t *testing.T) {
	for _, test := range []struct{ name, services, want string }{
		{"no service", `[]`, ""},
		{"no database", `[{"credentials":{"uri":"redis://r"}}]`, ""},
		{"the first one that is a database", `[{"credentials":"text"},{},{"credentials":{"uri":"amqp://a"}},
			{"credentials":{"uri":"mysql://u:p%40@h/d?x=%2f#y"}},{"credentials":{"uri":"postgres://b"}}]`, "mysql2://u:p%40@h/d?x=%2f#y"},
		{"another key", `[{"credentials":{"URI":"mysql://a"}},{"credentials":{"uri":"db2://b","Uri":"mysql://c"}}]`, "ibmdb://b"},
		{"no text", `[{"credentials":{"uri":5}},{"credentials":{"uri":null}},{"credentials":null},{"credentials":{"uri":"db2://b"}}]`, "ibmdb://b"},
		{"mysql2", `[{"credentials":{"uri":"mysql2://a"}}]`, "mysql2://a"},
		{"postgresql", `[{"credentials":{"uri":"postgresql://a"}}]`, "postgres://a"},
		{"db2", `[{"credentials":{"uri":"db2://a"}}]`, "ibmdb://a"},
		{"informix", `[{"credentials":{"uri":"informix://a"}}]`, "ibmdb://a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, appenv.DatabaseURL(services(t, test.services)))
		})
	}
}

func TestShellQuote(t *testing.T) {
	for _, text := range []string{"", "plain", "it's", "$HOME `id` \\ \" \n !*?", "'", "''", "-n"} {
		out, err := exec.Command("sh", "-c", "printf %s "+appenv.ShellQuote(text)).Output()
		require.NoError(t, err)
		assert.Equal(t, text, string(out))
	}
}
