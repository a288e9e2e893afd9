package dea_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
)

// audience is an applog.Emitter for a test.
type audience chan applog.Line

func (a audience) Emit(l applog.Line) { a <- l }

// hears returns the first line whose text is, or begins with, one of these.
func (a audience) hears(t *testing.T, texts ...string) applog.Line {
	t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case line := <-a:
			for _, text := range texts {
				if strings.HasPrefix(line.Text, text) {
					return line
				}
			}
		case <-deadline:
			t.Fatalf("nobody said %q", texts)
		}
	}
}

// People hear what their app writes, and from the DEA what becomes of it.
func TestPeopleAreTold(t *testing.T) {
	lines := make(audience, 10000)
	w := newSurroundings(t)
	w.alter = func(p *dea.Parts) { p.Logs = lines }
	w.run(func(c *dea.Config) { c.CrashReapInterval, c.CrashLifetime = 20*time.Millisecond, 300*time.Millisecond })
	w.start(w.startMessage(testapp.Serves, func(m object) {
		m["services"] = []object{{"name": "drain", "label": "user-provided", "credentials": nil, "syslog_drain_url": "syslog://logs.example.com:514"}}
	}))
	beat := w.running()
	assert.Equal(t, applog.DEA, lines.hears(t, "Starting app instance (index 0) with guid app-guid").Source)
	own := lines.hears(t, "app in mode serves")
	assert.Equal(t, applog.App, own.Source)
	assert.Equal(t, applog.Stdout, own.Stream)
	assert.Equal(t, "app-guid", own.App)
	assert.Equal(t, beat["instance"], own.Instance)
	assert.Equal(t, []string{"syslog://logs.example.com:514"}, own.Drains)
	w.publish("dea.stop", object{"droplet": "app-guid"})
	told := lines.hears(t, "Stopping app instance (index 0) with guid app-guid")
	assert.Equal(t, applog.DEA, told.Source)
	lines.hears(t, "Stopped app instance (index 0) with guid app-guid")
	assert.Empty(t, lines, "the app was silent at its end, or its last words came before that")

	w.start(w.startMessage(testapp.Serves, nil))
	route := w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	_, err := http.Get(fmt.Sprintf("http://%s:%.0f/exit", route["host"], route["port"]))
	require.Error(t, err)
	assert.Equal(t, applog.Stderr, lines.hears(t, "Instance (index 0) crashed: app instance exited (status 3)").Stream)
	lines.hears(t, "Removing crash for app with id app-guid")

	w.start(w.startMessage(testapp.NeverListens, func(m object) { m["health_check_timeout"] = 1 }))
	assert.Equal(t, applog.Stderr, lines.hears(t, "Instance (index 0) failed to start accepting connections").Stream)

	w.start(w.startMessage(testapp.EatsMemory, func(m object) { m["uris"] = nil }))
	lines.hears(t, "Instance (index 0) crashed: out of memory, the limit is 64 MB")
}

// The last words of an app are heard although it ends at once.
func TestLastWords(t *testing.T) {
	lines := make(audience, 10000)
	w := newSurroundings(t)
	w.app = testapp.PackDroplet(t, map[string]string{"startup": "#!/bin/sh\necho out; echo err >&2; printf 'no end'\nexit 1\n"})
	w.alter = func(p *dea.Parts) { p.Logs = lines }
	w.run(nil)
	w.start(w.startMessage("", func(m object) { m["uris"] = nil }))
	for _, text := range []string{"out", "no end"} {
		assert.Equal(t, applog.Stdout, lines.hears(t, text).Stream)
	}
	w.await("droplet.exited", nil)
}
