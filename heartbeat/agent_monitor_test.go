package heartbeat_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

// machines are an AgentMonitor with a clock.
type machines struct {
	*heartbeat.AgentMonitor
	t   *testing.T
	now time.Time
}

func newMachines(t *testing.T, cfg heartbeat.AgentMonitorConfig) *machines {
	return &machines{heartbeat.NewAgentMonitor(cfg), t, time.Unix(1_700_000_000, 0)}
}

func (f *machines) pass(d time.Duration) { f.now = f.now.Add(d) }

// beats lets so much time pass, with heartbeats of these agents every 30 s, the last one at the end.
func (f *machines) beats(d time.Duration, ids ...string) {
	f.t.Helper()
	for ; d > 0; d -= 30 * time.Second {
		f.pass(min(d, 30*time.Second))
		for _, id := range ids {
			f.beat(id, messaging.JobRunning)
		}
	}
}

func (f *machines) beat(id string, state messaging.JobState) heartbeat.AgentBeat {
	f.t.Helper()
	event, err := f.Heartbeat(id, messaging.AgentHeartbeat{JobState: state}, f.now)
	require.NoError(f.t, err)
	return event
}

func (f *machines) manage(ids ...string) { f.Manage(ids, f.now) }

// check returns the findings in short: "lost a since 1m0s", that long ago.
func (f *machines) check() []string {
	found := []string{}
	for _, finding := range f.Check(f.now) {
		switch event := finding.(type) {
		case heartbeat.AgentLost:
			assert.Equal(f.t, heartbeat.Lost, event.Life)
			found = append(found, fmt.Sprintf("lost %s since %s", event.ID, f.now.Sub(event.Since)))
		case heartbeat.AgentRogue:
			found = append(found, fmt.Sprintf("rogue %s since %s", event.ID, f.now.Sub(event.Since)))
		}
	}
	return found
}

// lives returns how alive all are.
func (f *machines) lives() string {
	var lives []string
	for _, status := range f.Agents(f.now) {
		one, found := f.Agent(status.ID, f.now)
		assert.True(f.t, found)
		assert.Equal(f.t, status, one)
		lives = append(lives, status.ID+" "+string(status.Life))
	}
	return strings.Join(lives, ", ")
}

func TestAgentIsLostAndFound(t *testing.T) {
	f := newMachines(t, heartbeat.AgentMonitorConfig{})
	first := f.beat("a", messaging.JobStarting)
	assert.True(t, first.Before.Seen.IsZero())
	assert.Equal(t, heartbeat.Awaited, first.Before.Life)
	assert.Equal(t, heartbeat.Alive, first.Life)
	assert.False(t, first.Healthy())
	f.pass(30 * time.Second)
	second := f.beat("a", messaging.JobRunning)
	assert.Equal(t, messaging.JobStarting, second.Before.Beat.JobState)
	assert.Equal(t, messaging.JobRunning, second.Beat.JobState)
	assert.Equal(t, f.now, second.Seen)
	assert.Equal(t, f.now.Add(-30*time.Second), second.Known)
	assert.True(t, second.Healthy())

	f.pass(time.Minute - time.Nanosecond)
	assert.Empty(t, f.check(), "one heartbeat may be lost, and the next one late")
	f.pass(time.Nanosecond)
	assert.Equal(t, []string{"lost a since 0s"}, f.check())
	f.pass(time.Minute)
	assert.Equal(t, []string{"lost a since 1m0s"}, f.check(), "until it has been dealt with")
	status, _ := f.Agent("a", f.now)
	assert.False(t, status.Healthy(), "whatever it said at last")

	back := f.beat("a", messaging.JobRunning)
	assert.Equal(t, heartbeat.Lost, back.Before.Life)
	assert.Equal(t, heartbeat.Alive, back.Life)
	assert.Empty(t, f.check())

	f.pass(time.Hour)
	assert.Equal(t, []string{"lost a since 59m0s"}, f.check())
	f.Forget("a")
	f.Forget("a")
	assert.Empty(t, f.check())
	_, found := f.Agent("a", f.now)
	assert.False(t, found)
}

func TestLostAgentsAreForgotten(t *testing.T) {
	f := newMachines(t, heartbeat.AgentMonitorConfig{Memory: 10 * time.Minute})
	f.beat("a", messaging.JobRunning)
	f.pass(11*time.Minute - time.Nanosecond)
	assert.Len(t, f.check(), 1)
	f.pass(time.Nanosecond)
	assert.Empty(t, f.lives())
	assert.True(t, f.beat("a", messaging.JobRunning).Before.Seen.IsZero())
	f.pass(11 * time.Minute)
	assert.Empty(t, f.check())
}

func TestListedAgents(t *testing.T) {
	f := newMachines(t, heartbeat.AgentMonitorConfig{})
	f.manage("a", "b", "a")
	assert.Equal(t, "a awaited, b awaited", f.lives())
	f.beats(time.Minute, "a")
	assert.Equal(t, []string{"lost b since 0s"}, f.check(), "it was never heard at all")
	f.beats(24*time.Hour, "a")
	f.manage("b", "a")
	assert.Equal(t, []string{"lost b since 24h0m0s"}, f.check(), "it is not forgotten while it is listed")
	f.manage("a")
	assert.Empty(t, f.check(), "somebody gave it up")
	assert.Equal(t, "a alive", f.lives())
	f.manage("a", "b")
	f.pass(time.Minute - 1)
	assert.Empty(t, f.check(), "another machine, which has its time")
}

func TestRogueAgents(t *testing.T) {
	f := newMachines(t, heartbeat.AgentMonitorConfig{})
	f.beats(24*time.Hour, "a")
	f.manage()
	f.beats(2*time.Minute-1, "a", "b")
	assert.Empty(t, f.check(), "the list may be old")
	f.beats(1, "a", "b")
	assert.Equal(t, []string{"rogue a since 0s"}, f.check(), "b came later")
	f.beats(30*time.Second, "a", "b")
	assert.Equal(t, []string{"rogue a since 30s", "rogue b since 0s"}, f.check())
	f.manage("a")
	assert.Equal(t, []string{"rogue b since 0s"}, f.check())

	f.pass(time.Minute - 1)
	assert.Equal(t, "a alive, b alive", f.lives())
	f.pass(1)
	assert.Equal(t, "a lost", f.lives())
	assert.Equal(t, []string{"lost a since 0s"}, f.check(), "nobody misses b")
	f.beats(2*time.Minute-1, "b")
	assert.NotContains(t, strings.Join(f.check(), ", "), "rogue", "it begins anew")
}

func TestAgentsThatLeaveAreNotLost(t *testing.T) {
	for name, listed := range map[string]bool{"listed": true, "not listed": false} {
		t.Run(name, func(t *testing.T) {
			f := newMachines(t, heartbeat.AgentMonitorConfig{})
			if listed {
				f.manage("a")
			}
			f.beat("a", messaging.JobRunning)
			event, first := f.Shutdown("a", f.now)
			assert.True(t, first)
			assert.Equal(t, heartbeat.Leaving, event.Life)
			assert.Equal(t, f.now, event.Left)
			f.beats(5*time.Minute, "a") // its drain takes so long
			assert.Equal(t, "a leaving", f.lives())
			_, first = f.Shutdown("a", f.now)
			assert.False(t, first)

			f.pass(15*time.Minute - 1)
			assert.Empty(t, f.check())
			if listed {
				assert.Equal(t, "a leaving", f.lives())
				f.pass(1)
				assert.Equal(t, []string{"lost a since 0s"}, f.check(), "the director wants it still")
				f.manage()
			}
			f.pass(1)
			assert.Empty(t, f.check())
			assert.Empty(t, f.lives())
		})
	}
}

// The machine of a bosh stop stays, and its agent says so.
func TestAgentThatStaysAfterAll(t *testing.T) {
	f := newMachines(t, heartbeat.AgentMonitorConfig{})
	f.beat("a", messaging.JobRunning)
	f.Shutdown("a", f.now)
	f.beats(15*time.Minute, "a")
	assert.Equal(t, "a alive", f.lives())
	f.pass(time.Minute)
	assert.Equal(t, []string{"lost a since 0s"}, f.check())
}

func TestShutdownOfStrangers(t *testing.T) {
	f := newMachines(t, heartbeat.AgentMonitorConfig{})
	_, first := f.Shutdown("a", f.now)
	assert.False(t, first)
	assert.Empty(t, f.lives())
	f.beat("a", messaging.JobRunning)
	f.pass(3 * time.Hour)
	_, first = f.Shutdown("a", f.now)
	assert.False(t, first, "it was forgotten")

	// One that goes as the director wants, while it is listed no more, is no rogue.
	f.manage()
	f.beat("a", messaging.JobRunning)
	f.Shutdown("a", f.now)
	f.beats(15*time.Minute-1, "a")
	assert.Empty(t, f.check())
	f.beats(1, "a")
	assert.Equal(t, []string{"rogue a since 0s"}, f.check())
}

func TestAlertsAreToldOnce(t *testing.T) {
	f := newMachines(t, heartbeat.AgentMonitorConfig{})
	alert := func(agent, id string) bool {
		event, first, err := f.Alert(agent, messaging.AgentAlert{ID: id, Severity: 1, Title: "x", CreatedAt: 1}, f.now)
		require.NoError(t, err)
		assert.Equal(t, agent, event.ID)
		assert.Equal(t, id, event.Alert.ID)
		return first
	}
	assert.True(t, alert("a", "1304319946.0@localhost"))
	assert.False(t, alert("a", "1304319946.0@localhost"))
	assert.True(t, alert("b", "1304319946.0@localhost"), "monit counts on each machine")
	assert.Equal(t, "a awaited, b awaited", f.lives(), "no sign of life")
	for i := range 1000 {
		assert.True(t, alert("a", fmt.Sprint(i)))
		assert.False(t, alert("a", fmt.Sprint(i)))
		for back := range min(i, 63) {
			assert.False(t, alert("a", fmt.Sprint(i-back)), "%d back from %d", back, i)
		}
	}
	assert.True(t, alert("a", "1"), "memory is bounded")
	assert.False(t, alert("b", "1304319946.0@localhost"), "and nobody spoils that of others")
}

func TestAgentsAreBounded(t *testing.T) {
	f := newMachines(t, heartbeat.AgentMonitorConfig{MaxUnlisted: 2})
	f.beat("a", messaging.JobRunning)
	f.pass(30 * time.Second)
	f.beat("b", messaging.JobRunning)
	heard := func(id string) error {
		_, err := f.Heartbeat(id, messaging.AgentHeartbeat{}, f.now)
		_, _, other := f.Alert(id, messaging.AgentAlert{ID: "1"}, f.now)
		assert.Equal(t, err, other)
		return err
	}
	f.pass(30*time.Second - 1)
	require.ErrorIs(t, heard("c"), heartbeat.ErrTooManyAgents)
	require.NoError(t, heard("b"))
	f.pass(time.Second)
	require.NoError(t, heard("c"), "a, which is lost, makes room")
	assert.Equal(t, "b alive, c alive", f.lives())

	f.manage("b", "d", "e", "f")
	require.NoError(t, heard("f"), "there is always room for listed ones")
	require.NoError(t, heard("g"))
	require.ErrorIs(t, heard("h"), heartbeat.ErrTooManyAgents)
	f.Forget("d")
	f.Forget("g")
	require.NoError(t, heard("h"))
	require.ErrorIs(t, heard("d"), heartbeat.ErrTooManyAgents, "it was forgotten until the next list")

	for _, id := range []string{"", "a.b", "a b", ">", "\x1b", strings.Repeat("x", 257)} {
		err := heard(id)
		require.ErrorContains(t, err, "is no id")
		assert.Less(t, len(err.Error()), 150)
	}
	require.ErrorIs(t, heard(strings.Repeat("x", 256)), heartbeat.ErrTooManyAgents)
}

// Nobody is lost while nobody could hear; who was lost before stays so.
func TestDeafMonitor(t *testing.T) {
	f := newMachines(t, heartbeat.AgentMonitorConfig{})
	f.manage("lost", "heard")
	f.pass(time.Minute)
	f.beat("heard", messaging.JobRunning)
	f.manage("lost", "heard", "later")
	from := f.now
	f.pass(time.Hour)
	assert.Len(t, f.check(), 3)
	f.Deaf(from, f.now)
	assert.Equal(t, []string{"lost lost since 1h0m0s"}, f.check())
	f.pass(time.Minute)
	assert.Equal(t, []string{"lost heard since 0s", "lost later since 0s", "lost lost since 1h1m0s"}, f.check())
}
