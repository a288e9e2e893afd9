package supervisor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/supervisor"
)

const natsMonit = `# NATS
check process nats
  with pidfile /var/vcap/sys/run/nats/nats.pid
  start program "/var/vcap/jobs/nats/bin/nats_ctl start --port=4222" as uid vcap and gid "vcap" with timeout 60 seconds
  stop program = '/bin/sh -c "kill 1"'
  if failed host 127.0.0.1 port 4222 then restart
  if 5 restarts within 5 cycles then timeout
  if totalmem > 500 Mb for 3 cycles then alert else if succeeded then start
  depends on store, other
  mode manual
  group vcap
  GROUP "nats"
check file store path "/var/vcap/store"
  if changed checksum then alert
  group vcap
check process proxy pidfile /p.pid
  start "/bin/proxy"
`

func TestParseMonit(t *testing.T) {
	processes, ignored, err := supervisor.ParseMonit([]byte(natsMonit))
	require.NoError(t, err)
	assert.Equal(t, []supervisor.Definition{
		{
			Name: "nats", PIDFile: "/var/vcap/sys/run/nats/nats.pid",
			Start: supervisor.Command{
				Args: []string{"/var/vcap/jobs/nats/bin/nats_ctl", "start", "--port=4222"}, UID: "vcap", GID: "vcap", Timeout: time.Minute,
			},
			Stop:   supervisor.Command{Args: []string{"/bin/sh", "-c", "kill 1"}},
			Groups: []string{"vcap", "nats"},
		},
		{Name: "proxy", PIDFile: "/p.pid", Start: supervisor.Command{Args: []string{"/bin/proxy"}}},
	}, processes)
	assert.Equal(t, []string{
		"if failed host 127.0.0.1", "if 5 restarts within", "if totalmem > 500", "depends on store other", "mode manual",
		"check file store path", "if changed checksum then",
	}, ignored)
}

func TestParseMonitRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"check process a":                                      "process a has no pidfile",
		"check process a pidfile /p":                           "process a has no start program",
		"check process":                                        "line 1: name of the service is missing",
		"check process a\n\npidfile":                           "line 3: pidfile is missing",
		"check process a pidfile /p start program \"/x":        "line 1: a quote is not closed",
		"check process a pidfile /p start program \"\"":        "start program is missing",
		"check process a pidfile /p start program \" '\"":      "is no command line",
		"check process a pidfile /p start /x with timeout x":   `timeout "x" is no number`,
		"check process a pidfile /p start /x with timeout 0 s": `timeout "0" is no number`,
		"check process a pidfile /p start /x as uid":           "user or group is missing",
		"chekc process a pidfile /p start /x":                  `line 1: syntax error at "chekc"`,
		"check process a pidfile /p start /x\nchekc process b": `line 2: syntax error at "chekc"`,
		"check proces a pidfile /p start /x":                   "syntax error: check proces",
		"this is no monit file":                                `syntax error at "this"`,
		"check process a pidfile /p start /x \"/y\"":           `syntax error at "/y"`,
		"group": "name of the group is missing",
	} {
		_, _, err := supervisor.ParseMonit([]byte(text))
		assert.ErrorContains(t, err, want, text)
	}
	processes, _, err := supervisor.ParseMonit(nil)
	require.NoError(t, err)
	assert.Empty(t, processes)
}

func FuzzParseMonit(f *testing.F) {
	f.Add(natsMonit)
	f.Add(strings.Repeat("check process a pidfile ", 3))
	f.Fuzz(func(t *testing.T, text string) {
		processes, _, err := supervisor.ParseMonit([]byte(text))
		if err != nil {
			return
		}
		for _, p := range processes {
			require.NotEmpty(t, p.Name)
			require.NotEmpty(t, p.PIDFile)
			require.NotEmpty(t, p.Start.Args)
		}
	})
}
