package controller_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/messaging"
)

func (b *bus) line(app messaging.Text, instance, text string, at time.Time) {
	b.t.Helper()
	require.NoError(b.t, messaging.AppLog(messaging.AppLogPrefix, string(app)).Publish(b.conn, messaging.AppLogLine{
		Time: at, App: app, Instance: instance, Source: "APP", Stream: "stdout", Text: text,
	}))
}

func (b *bus) texts(app string) (texts []string) {
	b.t.Helper()
	lines, err := b.Logs(b.t.Context(), app, false)
	require.NoError(b.t, err)
	for line := range lines {
		texts = append(texts, line.Text)
	}
	return texts
}

// TestInstancesWhoseDEASendsNoLinesAreNamed: what they wrote has to be looked for elsewhere.
func TestInstancesWhoseDEASendsNoLinesAreNamed(t *testing.T) {
	b := newBus(t, controller.Config{})
	b.stager(4096)
	b.advertise("one")
	start := b.running("one", "app", "i1")
	_, err := b.conn.Subscribe(string(messaging.DEAFindDroplet), func(m *nats.Msg) {
		assert.NoError(t, m.Respond(fmt.Appendf(nil,
			`{"dea":"one","droplet":%q,"version":%q,"instance":"i1","index":0,"state":"RUNNING"}`, start.Droplet, start.Version)))
	})
	require.NoError(t, err)
	require.NoError(t, b.conn.Flush())
	app, err := b.App(t.Context(), "app")
	require.NoError(t, err)
	assert.Equal(t, []string{"i1"}, app.Silent)

	b.line(start.Droplet, "i1", "hello", time.Now())
	b.eventually("it is heard", func() bool { return len(b.texts("app")) == 1 })
	app, err = b.App(t.Context(), "app")
	require.NoError(t, err)
	assert.Empty(t, app.Silent)
}

func TestLogsAreBoundedAndOrdered(t *testing.T) {
	b := newBus(t, controller.Config{})
	guid, err := b.Prepare(controller.Settings{Name: "app"})
	require.NoError(t, err)
	now := time.Now()
	b.line(messaging.Text(guid), "i", "second", now.Add(time.Second))
	b.line("of nobody", "i", "lost", now)
	b.line(messaging.Text(guid), "i", "first", now)
	b.eventually("both are heard", func() bool { return len(b.texts("app")) == 2 })
	assert.Equal(t, []string{"first", "second"}, b.texts("app"))

	large := string(make([]byte, 1000))
	for range 2000 {
		b.line(messaging.Text(guid), "i", large, now)
	}
	b.line(messaging.Text(guid), "i", "last", now.Add(time.Minute))
	var texts []string
	b.eventually("the last is heard", func() bool {
		texts = b.texts("app")
		return texts[len(texts)-1] == "last"
	})
	assert.Less(t, len(texts), 1000)
	assert.Greater(t, len(texts), 500)

	b.Abandon(guid)
	_, err = b.Logs(t.Context(), "app", false)
	assert.ErrorIs(t, err, controller.ErrNoApp)
}
