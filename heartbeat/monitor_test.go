package heartbeat_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

// A scene is a Monitor with a clock.
type scene struct {
	*heartbeat.Monitor
	t     *testing.T
	now   time.Time
	begin time.Time
}

// settled returns a scene in which the picture is fresh: an empty DEA "z" has been heard for 30 s.
func settled(t *testing.T, cfg heartbeat.Config) *scene {
	s := &scene{heartbeat.NewMonitor(cfg), t, time.Unix(1_700_000_000, 0), time.Time{}}
	for range 3 {
		s.beat("z")
		s.pass(10 * time.Second)
	}
	s.beat("z")
	s.begin = s.now
	require.True(t, s.Fresh(s.now))
	return s
}

func (s *scene) pass(d time.Duration) { s.now = s.now.Add(d) }

// inst makes an entry whose guid is app-version-index-suffix.
func inst(app, version string, index int, suffix string, state messaging.State, since time.Time) messaging.Instance {
	return messaging.Instance{
		Droplet: messaging.Text(app), Version: version, Index: index, Instance: guid(app, version, index, suffix),
		State: state, StateTimestamp: messaging.SecondsOf(since),
	}
}

func guid(app, version string, index int, suffix string) string {
	return fmt.Sprintf("%s-%s-%d-%s", app, version, index, suffix)
}

// inst is of app "a" version "1", in its state since now.
func (s *scene) inst(index int, suffix string, state messaging.State) messaging.Instance {
	return inst("a", "1", index, suffix, state, s.now)
}

func (s *scene) beat(dea string, instances ...messaging.Instance) {
	s.Heartbeat(messaging.Heartbeat{DEA: dea, Droplets: instances}, s.now)
}

func (s *scene) exit(index int, suffix, reason string) {
	s.Exited(messaging.Exit{Droplet: "a", Version: "1", Index: index, Instance: guid("a", "1", index, suffix), Reason: reason}, s.now)
}

// check returns the findings in short: "missing 0", "evacuating guid", "extra guid reason".
func (s *scene) check(desired ...heartbeat.Desired) []string {
	found := []string{}
	for _, finding := range s.Check(desired, s.now) {
		switch f := finding.(type) {
		case heartbeat.Missing:
			found = append(found, fmt.Sprintf("missing %s-%s-%d", f.App, f.Version, f.Index))
		case heartbeat.Evacuating:
			found = append(found, fmt.Sprintf("evacuating %s on %s", f.Instance, f.DEA))
		case heartbeat.Extra:
			found = append(found, fmt.Sprintf("extra %s on %s: %s", f.Instance, f.DEA, f.Reason))
		}
	}
	return found
}

func want(instances int) heartbeat.Desired {
	return heartbeat.Desired{App: "a", Version: "1", Instances: instances}
}

func TestCheck(t *testing.T) {
	type beats map[string][]messaging.Instance
	at := func(seconds int) time.Time { return time.Unix(1_699_999_000+int64(seconds), 0) }
	const (
		starting, running    = messaging.Starting, messaging.Running
		evacuating, crashed  = messaging.Evacuating, messaging.Crashed
		stopping, borne      = messaging.Stopping, messaging.Born
		resuming, deadRecord = messaging.Resuming, messaging.Stopped
	)
	for name, tc := range map[string]struct {
		beats   beats
		desired []heartbeat.Desired
		want    []string
	}{
		"nothing wanted, nothing there": {},
		"all missing": {
			desired: []heartbeat.Desired{{"b", "2", 1}, {"a", "1", 2}},
			want:    []string{"missing a-1-0", "missing a-1-1", "missing b-2-0"},
		},
		"all there, in every state of life": {
			beats: beats{
				"d": {inst("a", "1", 0, "x", running, at(0)), inst("a", "1", 1, "x", starting, at(0))},
				"e": {inst("a", "1", 2, "x", borne, at(0)), inst("a", "1", 3, "x", resuming, at(0))},
			},
			desired: []heartbeat.Desired{want(4)},
		},
		"crashed and leaving ones do not count": {
			beats: beats{"d": {
				inst("a", "1", 0, "x", crashed, at(0)), inst("a", "1", 1, "x", stopping, at(0)),
				inst("a", "1", 2, "x", deadRecord, at(0)),
			}},
			desired: []heartbeat.Desired{want(3)},
			want:    []string{"missing a-1-0", "missing a-1-1", "missing a-1-2"},
		},
		"an app that is not wanted is stopped, its crashed instances are left to the DEA": {
			beats: beats{"d": {
				inst("a", "1", 0, "x", running, at(0)), inst("a", "1", 1, "x", starting, at(0)),
				inst("a", "1", 2, "x", evacuating, at(0)), inst("a", "1", 3, "x", crashed, at(0)),
			}},
			want: []string{"extra a-1-0-x on d: not wanted", "extra a-1-1-x on d: not wanted", "extra a-1-2-x on d: not wanted"},
		},
		"scaling down takes the highest indexes": {
			beats: beats{
				"d": {inst("a", "1", 0, "x", running, at(3)), inst("a", "1", 3, "x", running, at(1))},
				"e": {inst("a", "1", 1, "x", running, at(2)), inst("a", "1", 2, "x", starting, at(0))},
			},
			desired: []heartbeat.Desired{want(2)},
			want:    []string{"extra a-1-2-x on e: index too high", "extra a-1-3-x on d: index too high"},
		},
		"scaling to zero": {
			beats:   beats{"d": {inst("a", "1", 0, "x", running, at(0))}},
			desired: []heartbeat.Desired{want(0)},
			want:    []string{"extra a-1-0-x on d: index too high"},
		},
		"of duplicates, a running one is kept": {
			beats: beats{
				"d": {inst("a", "1", 0, "x", starting, at(0))},
				"e": {inst("a", "1", 0, "y", running, at(9))},
			},
			desired: []heartbeat.Desired{want(1)},
			want:    []string{"extra a-1-0-x on d: duplicate"},
		},
		"of running duplicates, the oldest is kept": {
			beats: beats{
				"d": {inst("a", "1", 0, "x", running, at(5))},
				"e": {inst("a", "1", 0, "y", running, at(4)), inst("a", "1", 0, "z", running, at(6))},
			},
			desired: []heartbeat.Desired{want(1)},
			want:    []string{"extra a-1-0-x on d: duplicate", "extra a-1-0-z on e: duplicate"},
		},
		"two evacuating in one slot need one replacement": {
			beats: beats{
				"d": {inst("a", "1", 0, "x", evacuating, at(5))},
				"e": {inst("a", "1", 0, "y", evacuating, at(4))},
			},
			desired: []heartbeat.Desired{want(1)},
			want:    []string{"evacuating a-1-0-y on e", "extra a-1-0-x on d: duplicate"},
		},
		"while the replacement starts, one evacuating serves": {
			beats: beats{
				"d": {inst("a", "1", 0, "x", evacuating, at(5)), inst("a", "1", 0, "w", starting, at(7))},
				"e": {inst("a", "1", 0, "y", evacuating, at(4))},
			},
			desired: []heartbeat.Desired{want(1)},
			want:    []string{"extra a-1-0-x on d: duplicate"},
		},
		"an old version is kept until the new one runs": {
			beats: beats{"d": {
				inst("a", "0", 0, "x", running, at(0)), inst("a", "0", 1, "x", running, at(0)),
				inst("a", "0", 2, "x", running, at(0)), inst("a", "0", 3, "x", evacuating, at(0)),
				inst("a", "1", 0, "x", running, at(0)), inst("a", "1", 1, "x", starting, at(0)),
			}},
			desired: []heartbeat.Desired{want(3)},
			want: []string{
				"extra a-0-0-x on d: old version", "extra a-0-3-x on d: index too high", "missing a-1-2",
			},
		},
		"two versions may be wanted side by side": {
			beats: beats{"d": {
				inst("a", "0", 0, "x", running, at(0)), inst("a", "1", 0, "x", running, at(0)), inst("a", "2", 0, "x", running, at(0)),
			}},
			desired: []heartbeat.Desired{want(1), {"a", "2", 1}},
			want:    []string{"extra a-0-0-x on d: old version"},
		},
		"the greater of two wishes counts": {
			beats:   beats{"d": {inst("a", "1", 0, "x", running, at(0)), inst("a", "1", 1, "x", running, at(0))}},
			desired: []heartbeat.Desired{want(2), want(1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := settled(t, heartbeat.Config{})
			for dea, instances := range tc.beats {
				s.beat(dea, instances...)
			}
			if tc.want == nil {
				tc.want = []string{}
			}
			for range 3 {
				assert.Equal(t, tc.want, s.check(tc.desired...), "the same each time")
			}
		})
	}
}

func TestExitOvertakesHeartbeat(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	s.beat("d", s.inst(0, "x", messaging.Running))
	assert.Empty(t, s.check(want(1)))

	s.pass(time.Second)
	s.exit(0, "x", "crashed") // in any case (Cloud Controller)
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(1)))

	s.pass(time.Second)
	s.beat("d", s.inst(0, "x", messaging.Running)) // was sent before
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(1)))
	require.Len(t, s.Instances("a", s.now), 1)
	assert.Equal(t, messaging.Crashed, s.Instances("a", s.now)[0].State)

	s.pass(9 * time.Second)
	for range 5 { // the crashed instance stays in the list for an hour, and is one crash
		s.beat("d", s.inst(0, "x", messaging.Crashed))
		s.pass(10 * time.Second)
		s.beat("z")
	}
	assert.Equal(t, 1, s.Check([]heartbeat.Desired{want(1)}, s.now)[0].(heartbeat.Missing).Crashes)
}

func TestExitReasons(t *testing.T) {
	for reason, tc := range map[string]struct {
		want    string
		crashes int
	}{
		"CRASHED":        {"missing a-1-0", 1},
		"DEA_EVACUATION": {"evacuating a-1-0-x on d", 0},
		"DEA_SHUTDOWN":   {"missing a-1-0", 0},
		"STOPPED":        {"missing a-1-0", 0},
		"SOMETHING":      {"missing a-1-0", 0},
	} {
		t.Run(reason, func(t *testing.T) {
			s := settled(t, heartbeat.Config{})
			s.beat("d", s.inst(0, "x", messaging.Running))
			s.exit(0, "x", reason)
			s.beat("d", s.inst(0, "x", messaging.Running)) // stale
			assert.Equal(t, []string{tc.want}, s.check(want(1)))
			if m, ok := s.Check([]heartbeat.Desired{want(1)}, s.now)[0].(heartbeat.Missing); ok {
				assert.Equal(t, tc.crashes, m.Crashes)
			}
		})
	}
}

func TestCrashSeenInAHeartbeatOnly(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	s.beat("d", s.inst(0, "x", messaging.Running))
	s.pass(10 * time.Second)
	crashed := inst("a", "1", 0, "x", messaging.Crashed, s.now.Add(-5*time.Hour)) // by a clock that is wrong
	s.beat("d", crashed)
	s.exit(0, "x", "CRASHED") // late
	missing := s.Check([]heartbeat.Desired{want(1)}, s.now)[0].(heartbeat.Missing)
	assert.Equal(t, 1, missing.Crashes)
}

func TestCrashesFromBeforeTheMonitorWasStarted(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	s.beat("d",
		inst("a", "1", 0, "old", messaging.Crashed, s.now.Add(-2*time.Hour)),
		inst("a", "1", 0, "p", messaging.Crashed, s.now.Add(-4*time.Minute)),
		inst("a", "1", 0, "q", messaging.Crashed, s.now.Add(-2*time.Minute)),
		inst("a", "1", 0, "r", messaging.Crashed, s.now.Add(-20*time.Second)),
	)
	missing := s.Check([]heartbeat.Desired{want(1)}, s.now)[0].(heartbeat.Missing)
	assert.Equal(t, 3, missing.Crashes)
	assert.Equal(t, s.now.Add(10*time.Second), missing.NotBefore, "30 s after the last crash, by the time that the DEA told")
}

func TestDEAVanishes(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	s.beat("d", s.inst(0, "x", messaging.Running))
	s.beat("e", s.inst(1, "x", messaging.Running))
	tick := func() {
		s.pass(10 * time.Second)
		s.beat("e", inst("a", "1", 1, "x", messaging.Running, s.begin))
	}
	tick()
	tick()
	assert.Empty(t, s.check(want(2)), "two heartbeats may be lost")
	tick()
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(2)))
	first := s.now
	assert.Len(t, s.Instances("a", s.now), 1)
	tick()
	missing := s.Check([]heartbeat.Desired{want(2)}, s.now)[0].(heartbeat.Missing)
	assert.Equal(t, heartbeat.Missing{Slot: heartbeat.Slot{App: "a", Version: "1", Index: 0}, Since: first}, missing)
	assert.True(t, missing.Due(s.now))

	s.beat("d", inst("a", "1", 0, "x", messaging.Running, s.begin)) // it was only cut off
	assert.Empty(t, s.check(want(2)))
	s.Forget("d")
	s.Forget("d")
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(2)))
	assert.Equal(t, s.now, s.Check([]heartbeat.Desired{want(2)}, s.now)[0].(heartbeat.Missing).Since)
}

func TestHeartbeatReplacesTheWholeList(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	s.beat("d", s.inst(0, "x", messaging.Running), s.inst(1, "x", messaging.Running))
	s.beat("d", s.inst(1, "x", messaging.Running))
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(2)))
	s.beat("d")
	assert.Empty(t, s.Instances("a", s.now))
}

func TestRestartedDEAKeepsItsInstances(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	s.beat("old-id", s.inst(0, "x", messaging.Running))
	s.pass(5 * time.Second)
	s.beat("new-id", inst("a", "1", 0, "x", messaging.Running, s.begin))
	assert.Empty(t, s.check(want(1)), "one instance, not two")
	s.Forget("old-id")
	assert.Empty(t, s.check(want(1)))
	require.Len(t, s.Instances("a", s.now), 1)
	assert.Equal(t, "new-id", s.Instances("a", s.now)[0].DEA)
}

func TestEvacuationHandover(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	leaving := func() { s.beat("d", s.inst(0, "x", messaging.Evacuating)) }
	leaving()
	assert.Equal(t, []string{"evacuating a-1-0-x on d"}, s.check(want(1)))

	s.Starting("a", "1", 0, s.now)
	leaving()
	assert.Empty(t, s.check(want(1)), "asked for")

	s.pass(5 * time.Second)
	leaving()
	s.beat("e", s.inst(0, "y", messaging.Starting))
	assert.Empty(t, s.check(want(1)), "on its way")

	s.pass(5 * time.Second)
	s.exit(0, "y", "CRASHED")
	evacuating := s.Check([]heartbeat.Desired{want(1)}, s.now)[0].(heartbeat.Evacuating)
	assert.Equal(t, "a-1-0-x", evacuating.Instance, "kept when the replacement crashes")
	assert.Equal(t, 1, evacuating.Crashes)

	leaving()
	s.beat("e", s.inst(0, "z", messaging.Running))
	assert.Equal(t, []string{"extra a-1-0-x on d: replaced"}, s.check(want(1)))
	s.beat("d")
	assert.Empty(t, s.check(want(1)))
}

func TestStartingIsNotMissing(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	s.Starting("a", "1", 0, s.now)
	s.pass(10 * time.Second)
	s.beat("z")
	assert.Empty(t, s.check(want(1)))
	s.pass(10 * time.Second)
	s.beat("z")
	s.pass(9 * time.Second)
	assert.Empty(t, s.check(want(1)))
	s.pass(time.Second)
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(1)), "nobody took it")

	s.Starting("a", "1", 0, s.now)
	s.exit(0, "x", "CRASHED")
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(1)), "refused")

	s.Starting("a", "1", 0, s.now)
	s.beat("d", s.inst(0, "y", messaging.Starting))
	s.beat("d")
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(1)), "seen and lost")
}

// A restart: the old instance is still listed when the new one has been asked for.
func TestStartingOutlastsTheInstanceThatItReplaces(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	s.beat("d", s.inst(0, "x", messaging.Running))
	s.Starting("a", "1", 0, s.now)
	s.beat("d", s.inst(0, "x", messaging.Running))
	s.beat("d")
	assert.Empty(t, s.check(want(1)))
}

func TestChangeOfVersion(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	newer := heartbeat.Desired{App: "a", Version: "2", Instances: 2}
	beat := func(instances ...messaging.Instance) { s.beat("d", instances...) }
	old0, old1 := s.inst(0, "x", messaging.Running), s.inst(1, "x", messaging.Running)
	new0 := func(state messaging.State) messaging.Instance { return inst("a", "2", 0, "y", state, s.now) }
	new1 := func(state messaging.State) messaging.Instance { return inst("a", "2", 1, "y", state, s.now) }

	beat(old0, old1)
	assert.Empty(t, s.check(want(2)))
	assert.Equal(t, []string{"missing a-2-0", "missing a-2-1"}, s.check(newer))
	beat(old0, old1, new0(messaging.Starting), new1(messaging.Starting))
	assert.Empty(t, s.check(newer))
	beat(old0, old1, new0(messaging.Running), new1(messaging.Starting))
	assert.Equal(t, []string{"extra a-1-0-x on d: old version"}, s.check(newer))
	beat(old1, new0(messaging.Running), new1(messaging.Crashed))
	assert.Equal(t, []string{"missing a-2-1"}, s.check(newer), "the old one serves on")
	beat(old1, new0(messaging.Running), inst("a", "2", 1, "z", messaging.Running, s.now))
	assert.Equal(t, []string{"extra a-1-1-x on d: old version"}, s.check(newer))
}

func TestBackoff(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	for crash, delay := range []int{0, 0, 30, 60, 120, 240, 480, 960, 960, 960} {
		suffix := fmt.Sprint(crash)
		s.beat("d", s.inst(0, suffix, messaging.Running))
		s.exit(0, suffix, "CRASHED")
		s.pass(20 * time.Second) // the delay counts from the crash, not from its finding
		s.beat("z")
		missing := s.Check([]heartbeat.Desired{want(1)}, s.now)[0].(heartbeat.Missing)
		assert.Equal(t, crash+1, missing.Crashes)
		if delay == 0 {
			assert.Zero(t, missing.NotBefore)
			continue
		}
		assert.Equal(t, s.now.Add(time.Duration(delay-20)*time.Second), missing.NotBefore)
		assert.False(t, missing.Due(missing.NotBefore.Add(-1)))
		assert.True(t, missing.Due(missing.NotBefore))
	}
}

func TestHealthEndsBackoff(t *testing.T) {
	crashes := func(s *scene) int {
		s.beat("d")
		return s.Check([]heartbeat.Desired{want(1)}, s.now)[0].(heartbeat.Missing).Crashes
	}
	run := func(s *scene, suffix string, state messaging.State, d time.Duration) {
		for end := s.now.Add(d); ; s.pass(10 * time.Second) {
			s.beat("z")
			s.beat("d", s.inst(0, suffix, state))
			if !s.now.Before(end) {
				return
			}
		}
	}
	s := settled(t, heartbeat.Config{Healthy: time.Minute})
	for _, suffix := range []string{"p", "q", "r"} {
		s.exit(0, suffix, "CRASHED")
	}
	run(s, "x", messaging.Running, 50*time.Second)
	assert.Equal(t, 3, crashes(s))
	run(s, "y", messaging.Starting, 70*time.Second)
	assert.Equal(t, 3, crashes(s), "to start is not to run")
	run(s, "y", messaging.Running, time.Minute)
	assert.Zero(t, crashes(s))

	s.exit(0, "v", "CRASHED")
	assert.Equal(t, 1, crashes(s))
	for range 60*33/10 + 1 { // Healthy and twice MaxDelay
		s.pass(10 * time.Second)
		s.beat("z")
	}
	assert.Zero(t, crashes(s), "forgotten with time")
}

func TestFreshness(t *testing.T) {
	m := heartbeat.NewMonitor(heartbeat.Config{})
	s := &scene{m, t, time.Unix(1_700_000_000, 0), time.Time{}}
	assert.False(t, s.Fresh(s.now))
	assert.Empty(t, s.check(want(1)), "nothing heard yet")
	s.beat("d", inst("b", "1", 0, "x", messaging.Running, s.now))
	assert.Equal(t, []string{"extra b-1-0-x on d: not wanted"}, s.check(want(1)), "what lives can be judged")
	for range 3 {
		assert.False(t, s.Fresh(s.now))
		s.pass(10 * time.Second)
		s.beat("d")
	}
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(1)))

	s.pass(30 * time.Second) // a silence of everybody is ours
	assert.Empty(t, s.check(want(1)))
	s.beat("d")
	assert.Empty(t, s.check(want(1)))
	for range 3 {
		s.pass(10 * time.Second)
		s.beat("d")
	}
	assert.Equal(t, []string{"missing a-1-0"}, s.check(want(1)))

	trusting := heartbeat.NewMonitor(heartbeat.Config{Settle: -1})
	assert.Len(t, trusting.Check([]heartbeat.Desired{want(1)}, s.now), 1)
}

func TestInstances(t *testing.T) {
	s := settled(t, heartbeat.Config{})
	s.beat("e", s.inst(1, "y", messaging.Crashed), inst("b", "1", 0, "x", messaging.Running, s.now))
	s.beat("d", s.inst(1, "x", messaging.Starting), s.inst(0, "x", messaging.Running))
	var got []string
	for _, i := range s.Instances("a", s.now) {
		assert.Equal(t, s.now, i.Seen)
		assert.True(t, s.now.Equal(i.Since))
		got = append(got, fmt.Sprintf("%s %s %s", i.Instance, i.State, i.DEA))
	}
	assert.Equal(t, []string{"a-1-0-x RUNNING d", "a-1-1-x STARTING d", "a-1-1-y CRASHED e"}, got)
	assert.Empty(t, s.Instances("a", s.now.Add(30*time.Second)))
}

func BenchmarkHeartbeat(b *testing.B) {
	m, beat := fleet(1, 100)
	now := time.Unix(1_700_000_000, 0)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(10 * time.Second)
		m.Heartbeat(beat, now)
	}
}

func BenchmarkCheck(b *testing.B) {
	m, _ := fleet(100, 100)
	desired := make([]heartbeat.Desired, 100)
	for i := range desired {
		desired[i] = heartbeat.Desired{App: fmt.Sprint(i), Version: "1", Instances: 100}
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(m.Check(desired, time.Unix(1_700_000_000, 0))) != 0 {
			b.Fatal("findings in a healthy fleet")
		}
	}
}

// fleet is a Monitor with so many DEAs, each with one instance of each of so many apps, and the last heartbeat.
func fleet(deas, apps int) (*heartbeat.Monitor, messaging.Heartbeat) {
	m, now := heartbeat.NewMonitor(heartbeat.Config{}), time.Unix(1_700_000_000, 0)
	var beat messaging.Heartbeat
	for d := range deas {
		beat = messaging.Heartbeat{DEA: fmt.Sprint("dea", d)}
		for app := range apps {
			beat.Droplets = append(beat.Droplets, inst(fmt.Sprint(app), "1", d, "x", messaging.Running, now))
		}
		m.Heartbeat(beat, now)
	}
	return m, beat
}
