package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/logging"
)

func TestSecretsAreHidden(t *testing.T) {
	c, problems, _ := load(t, `status: {user: u, password: s3cret}
nats_servers: ['nats://user:s3cret@h:1', 'nats://s3cret@h:2']
cc_url: https://user:s3cret@cc/path?token=s3cret
loggregator: {router: 'h:1', shared_secret: s3cret}
staging: {environment: {HTTP_PROXY: 'http://u:s3cret@p'}}
`)
	require.Empty(t, problems)
	var logged bytes.Buffer
	for _, h := range []slog.Handler{
		slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil), logging.NewStenoHandler(&logged, nil),
	} {
		slog.New(h).Info("m", "config", c, "status", c.Status, "cc", c.CCURL, "password", c.Status.Password, "nats", c.NATSServers)
	}
	asJSON, err := json.Marshal(c)
	require.NoError(t, err)
	texts := []string{c.String(), logged.String(), string(asJSON), fmt.Sprint(c.NATSServers[0])}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(format, *c), fmt.Sprintf(format, c), fmt.Sprintf(format, c.Status),
			fmt.Sprintf(format, c.CCURL), fmt.Sprintf(format, c.NATSServers), fmt.Sprintf(format, c.Staging.Environment))
	}
	for _, text := range texts {
		assert.NotContains(t, text, "s3cret")
		assert.NotContains(t, text, fmt.Sprintf("%x", "s3cret"))
	}
	assert.Contains(t, c.String(), "password: (hidden)")
	assert.Contains(t, c.String(), "cc_url: https://(hidden)@cc/path\n")
	assert.Contains(t, logged.String(), `"cc_url":"https://(hidden)@cc/path"`)
	assert.Equal(t, "s3cret", string(c.Status.Password))
}

func TestURLText(t *testing.T) {
	for raw, want := range map[string]string{
		"":                        "",
		"nats://h:1":              "nats://h:1",
		"nats://u:p@h:1":          "nats://(hidden)@h:1",
		"https://u@h/a%2Fb?x=1#y": "https://(hidden)@h/a%2Fb",
		"unixgram:///dev/log":     "unixgram:///dev/log",
		"u:p@h:1":                 "(hidden)",
		"//u:p@h":                 "//(hidden)@h",
		"nats://u:p%zz@h":         "(hidden)",
		"u-and-p@h":               "(hidden)",
	} {
		assert.Equal(t, want, config.URL(raw).String(), raw)
	}
}

// Whatever is wrong with a file, no value of it is repeated.
func TestProblemsRepeatNoValues(t *testing.T) {
	text, err := os.ReadFile("testdata/e14.yml")
	require.NoError(t, err)
	for _, broken := range []string{"s3cret", "[s3cret]", "{s3cret: s3cret}", "*s3cret", "nats://u:s3cret@h:x", "'s3cret", "!s3cret s3cret", "@s3cret", "s3cret: s3cret"} {
		lines := bytes.Split(text, []byte("\n"))
		for i, line := range lines {
			key, _, found := bytes.Cut(line, []byte(":"))
			if !found || bytes.HasPrefix(line, []byte("#")) {
				continue
			}
			changed := append([][]byte{}, lines...)
			changed[i] = append(append([]byte{}, key...), " : "+broken...)
			_, warnings, err := config.Parse(bytes.Join(changed, []byte("\n")))
			if err != nil {
				assert.NotContains(t, err.Error(), "s3cret", "%s", changed[i])
			}
			for _, w := range warnings {
				if broken != "{s3cret: s3cret}" { // a key there
					assert.NotContains(t, w.String(), "s3cret", "%s", changed[i])
				}
			}
		}
	}
}
