package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestWatch(t *testing.T) {
	nats := messagingtest.NewServer(t)
	text := programtest.Start(t, "-m", nats.URL(), "watch", "--silence", "1s")
	text.Says("listening to all agents at 127.0.0.1:")
	lines := programtest.Start(t, "-m", nats.URL(), "--agent", "a", "--json", "watch", "--silence", "1s")
	lines.Says("listening to a at")
	lines.Says(`"event":"lost","agent":"a"}`) // it should be there
	lines.Says("\n")

	conn := nats.Connect()
	agent, err := heartbeat.NewAgent(conn, heartbeat.AgentConfig{
		ID: "a", Interval: 100 * time.Millisecond, Collect: func(context.Context) messaging.AgentHeartbeat {
			return messaging.AgentHeartbeat{
				Deployment: "cf", Job: new("router"), Index: new(0), JobState: messaging.JobRunning, Processes: new(3),
				Vitals: messaging.AgentVitals{
					CPU:  &messaging.AgentCPU{System: "1.0", User: "3.1", Wait: "0.0"},
					Mem:  &messaging.AgentMemory{KB: "145996", Percent: "4"},
					Load: []messaging.Text{"0.09", "0.04", "\x1b[2J"}, Disk: messaging.AgentDisks{System: &messaging.AgentDisk{Percent: "41"}},
				},
			}
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	const figures = "running, 3 processes, cf router/0, load 0.09 0.04 �[2J, cpu 3.1% user 1.0% sys 0.0% wait, mem 4%, system disk 41%\n"
	text.Says("  first   a  " + figures)
	text.Says("  beat    a  " + figures)
	lines.Says(`"back":true`)
	require.NoError(t, agent.Alert(messaging.AgentAlert{ID: "1", Severity: 2, Title: "nats - pid failed", Summary: "gone\nlost", CreatedAt: 1}))
	text.Says("  alert   a  critical: nats - pid failed: gone�lost\n")
	lines.Says(`"alert":{"id":"1","severity":2,`)
	require.NoError(t, messaging.HMAgentHeartbeat("b").Publish(conn, messaging.AgentHeartbeat{JobState: messaging.JobFailing}))
	text.Says("  first   b  failing\n")
	text.Says("  lost    b  last heard at ")
	require.NoError(t, messaging.HMAgentHeartbeat("b").Publish(conn, messaging.AgentHeartbeat{}))
	text.Says("  back    b  ")
	require.NoError(t, conn.Publish("hm.agent.heartbeat.b", []byte("{")))
	text.Says("heartbeat.refused")
	require.NoError(t, agent.Shutdown(t.Context()))
	text.Says("  leaves  a  ")
	lines.Says(`"event":"shutdown","agent":"a"`)
	cancel()
	require.NoError(t, <-ended)

	for _, p := range []*programtest.Program{text, lines} {
		p.Signal(syscall.SIGINT)
		assert.Equal(t, exitOK, p.End())
	}
	assert.NotContains(t, lines.Text(), `"agent":"b"`)
	for line := range strings.Lines(lines.Text()) {
		if !strings.HasPrefix(line, "listening") {
			assert.True(t, json.Valid([]byte(line)), line)
		}
	}
}

// The agent of this project is heard as well, and a list makes others rogue.
func TestWatchAnAgentInADirectory(t *testing.T) {
	nats := messagingtest.NewServer(t)
	p := programtest.Start(t, "-m", nats.URL(), "watch", "dev", "other", "--silence", "5s", "--changes")
	p.Says("listening")
	startAgent(t, nats.URL())
	p.Says("  first   dev  running, ")
	p.Says("  lost    other  never heard\n")
	p.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, p.End())
}

// Who watches is told that nothing can be heard, and when that is over.
func TestWatchAServerThatGoesAway(t *testing.T) {
	nats := messagingtest.NewServer(t)
	p := programtest.Start(t, "-m", nats.URL(), "watch")
	p.Says("listening")
	nats.Stop()
	p.Says("nats.disconnected")
	nats.Start()
	p.Says("nats.reconnected")
}

func TestWatchExitCodes(t *testing.T) {
	ctl(t, exitUsage, "-m", "https://vcap:pw@127.0.0.1:1", "watch")
	ctl(t, exitUsage, "-m", "http://127.0.0.1:1", "watch")
	ctl(t, exitUsage, "--dev", startAgent(t, ""), "watch")
	ctl(t, exitUsage, "-m", "nats://127.0.0.1:1", "--agent", "a", "watch", "b")
	ctl(t, exitUnreachable, "-m", "nats://127.0.0.1:1", "watch")
	ctl(t, exitUsage, "-m", messagingtest.NewServer(t).URL(), "--agent", "a.b", "watch")
	locked := messagingtest.NewServer(t, func(o *server.Options) { o.Username, o.Password = "hm", "secret" })
	_, host, _ := strings.Cut(locked.URL(), "://")
	ctl(t, exitDenied, "-m", "nats://hm:wrong@"+host, "watch")
	help := ctl(t, exitOK, "watch", "--help")
	assert.Contains(t, help, "--silence")
	assert.Contains(t, help, "--changes")
}

func TestEventsInWords(t *testing.T) {
	rogue := heartbeat.AgentRogue{AgentStatus: heartbeat.AgentStatus{ID: "a"}}
	name, text := describe(rogue)
	assert.Equal(t, "rogue", name)
	assert.Contains(t, text, "not among")
	var out bytes.Buffer
	require.NoError(t, printJSON(&out, time.Unix(0, 0).UTC(), rogue))
	assert.JSONEq(t, `{"time":"1970-01-01T00:00:00Z","event":"rogue","agent":"a"}`, out.String())
	_, text = describe(heartbeat.AgentAlerted{Alert: messaging.AgentAlert{Severity: 7, Title: "t"}})
	assert.Equal(t, "severity 7: t", text)

	beat := func(before, now messaging.AgentHeartbeat, life heartbeat.AgentLife) heartbeat.AgentBeat {
		return heartbeat.AgentBeat{
			AgentStatus: heartbeat.AgentStatus{Beat: now},
			Before:      heartbeat.AgentStatus{Beat: before, Seen: time.Unix(1, 0), Life: life},
		}
	}
	running, failing := messaging.AgentHeartbeat{JobState: messaging.JobRunning}, messaging.AgentHeartbeat{JobState: messaging.JobFailing}
	fewer := running
	fewer.Processes = new(1)
	assert.False(t, changed(beat(running, running, heartbeat.Alive)))
	assert.True(t, changed(beat(running, running, heartbeat.Lost)))
	assert.True(t, changed(beat(running, failing, heartbeat.Alive)))
	assert.True(t, changed(beat(running, fewer, heartbeat.Alive)))
	assert.False(t, changed(beat(fewer, fewer, heartbeat.Alive)))
	assert.True(t, changed(heartbeat.AgentBeat{}))
}

// A reader that is gone ends the program.
func TestWatchWithoutReader(t *testing.T) {
	nats := messagingtest.NewServer(t)
	conn := nats.Connect()
	stop := make(chan struct{})
	sent := make(chan struct{})
	go func() { // until it is heard: nobody tells when the program listens
		defer close(sent)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				_ = messaging.HMAgentHeartbeat("a").Publish(conn, messaging.AgentHeartbeat{})
			}
		}
	}()
	assert.Equal(t, exitFailed, run([]string{"-m", nats.URL(), "-q", "watch"}, broken{}))
	close(stop)
	<-sent
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
