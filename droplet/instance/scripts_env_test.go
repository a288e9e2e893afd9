package instance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
)

// seen starts a droplet whose startup writes down what it gets, and returns that.
func seen(t *testing.T, edit func(*messaging.StartMessage)) (home string, args string, env map[string]string, s instance.Status) {
	t.Helper()
	n := newNode(t, scripted(t, "#!/bin/bash\necho \"$#:$*:$PWD:$HOME\" >args\nenv -0 >env\necho $$ >>run.pid\ntouch told\nexec sleep 600\n", stopF2))
	n.ownRuntime()
	m := n.scriptedMessage()
	m.HealthCheckTimeout = 600
	edit(&m)
	i, over := n.run(t.Context(), m)
	require.Eventually(t, func() bool {
		s = i.Status()
		home, _ = s.Container.OnHost(container.AppHome)
		_, err := os.Stat(filepath.Join(home, "told"))
		return s.Container.HostRoot != "" && err == nil
	}, patience, tick)
	s = i.Status()
	args, env = read(t, home, "args"), map[string]string{}
	for line := range strings.SplitSeq(read(t, home, "env"), "\x00") {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	home = s.Container.Inside(container.AppHome)
	i.Stop()
	wait(t, over)
	return home, args, env, s
}

func TestEnvironmentOfScripts(t *testing.T) {
	home, args, env, s := seen(t, func(m *messaging.StartMessage) {
		m.Name, m.Env = "it's", append(m.Env, "MINE=$VCAP_APP_PORT", "BOTH=user")
		require.NoError(t, json.Unmarshal([]byte(`[
			{"name":"db","label":"mysql-5.1","plan":"free","credentials":{"hostname":"10.0.0.9","port":3306,"password":"a b'c"}},
			{"name":"q","label":"a b-1","credentials":{"host":"h","port":"5"}},{"name":"n","label":"nothing","credentials":null}]`), &m.Services))
	})
	port := fmt.Sprint(s.Port)
	assert.Equal(t, fmt.Sprintf("2:-p %s:%s:%s\n", port, home, home), args)
	for name, want := range map[string]string{
		"HOME": home, "VCAP_APP_HOST": "0.0.0.0", "VCAP_APP_PORT": port, "VMC_APP_PORT": port, "VMC_APP_HOST": "0.0.0.0",
		"VCAP_DEBUG_IP": "", "VCAP_DEBUG_PORT": "", "VCAP_CONSOLE_IP": "", "VCAP_CONSOLE_PORT": "",
		"VMC_APP_NAME": "it's", "VMC_APP_ID": s.ID, "VMC_APP_VERSION": "v", "VMC_MYSQL": "10.0.0.9:3306",
		"MINE": port, "BOTH": "user", "BUNDLE_GEMFILE": "",
	} {
		got, there := env[name]
		assert.True(t, there, name)
		assert.Equal(t, want, got, name)
	}
	assert.Regexp(t, `^/opt/ruby19/bin:/`, env["PATH"])
	assert.NotContains(t, env, "VMC_NOTHING")
	var app map[string]any
	require.NoError(t, json.Unmarshal([]byte(env["VCAP_APPLICATION"]), &app))
	assert.Equal(t, map[string]any{"fds": 1024.0, "mem": float64(256 << 20), "disk": float64(256 << 20)}, app["limits"])
	assert.Equal(t, "ruby19", app["runtime"])
	assert.Equal(t, "it's", app["name"])
	assert.EqualValues(t, s.Port, app["port"])
	assert.JSONEq(t, env["VCAP_APPLICATION"], env["VMC_APP_INSTANCE"])
	assert.JSONEq(t, `[{"name":"db","vendor":"mysql","version":"5.1","tier":"free","options":{"hostname":"10.0.0.9","port":3306,"password":"a b'c"}},
		{"name":"q","vendor":"a b","version":"1","tier":null,"options":{"host":"h","port":"5"}},
		{"name":"n","vendor":"nothing","tier":null,"options":null}]`, env["VMC_SERVICES"])
	assert.Contains(t, env["VCAP_SERVICES"], `{"mysql-5.1":[{"name":"db",`[1:])
}

func TestScriptsWithoutRoutesHaveNoPort(t *testing.T) {
	home, args, env, _ := seen(t, func(m *messaging.StartMessage) { m.URIs = nil })
	assert.Equal(t, fmt.Sprintf("0::%s:%s\n", home, home), args)
	assert.Empty(t, env["VCAP_APP_PORT"])
	assert.Empty(t, env["VMC_APP_PORT"])
	assert.NotContains(t, env["VCAP_APPLICATION"], `"port"`)
}
