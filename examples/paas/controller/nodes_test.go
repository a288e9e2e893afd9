package controller_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/messaging"
)

// push begins a push and returns what will be its result.
func (b *bus) push(settings controller.Settings) <-chan error {
	b.t.Helper()
	guid, err := b.Prepare(settings)
	require.NoError(b.t, err)
	result := make(chan error, 1)
	go func() { result <- b.Push(b.t.Context(), guid, settings) }()
	return result
}

// running pushes an app and lets its only instance run on a DEA.
func (b *bus) running(dea, name, instance string) messaging.StartMessage {
	b.t.Helper()
	result := b.push(controller.Settings{Name: name})
	start := <-b.starts
	b.beat(dea, state(string(start.Droplet), start.Version, instance, 0, messaging.Running))
	require.NoError(b.t, <-result)
	return start
}

func TestLostDEAIsToldAndItsInstancesReplaced(t *testing.T) {
	b := newBus(t, controller.Config{Silence: 500 * time.Millisecond})
	b.stager(4096)
	b.advertise("one")
	b.running("one", "app", "i1")
	assert.Equal(t, map[string]int{"app": 1}, b.dea("one", "ok").Instances)

	missing := b.event("instance.missing")
	assert.Equal(t, "app", missing.App)
	assert.Equal(t, 0, *missing.Index)
	assert.Equal(t, "one", missing.DEA)
	assert.Contains(t, b.event("dea.lost").Text, "silent since")
	assert.Empty(t, b.DEAs())
	b.advertise("two")
	assert.Equal(t, "app", (<-b.starts).Name)
	assert.Equal(t, 1, b.count("dea.lost"))
	assert.Equal(t, 1, b.count("instance.missing"))
}

func TestStatesOfDEAs(t *testing.T) {
	b := newBus(t, controller.Config{})
	b.stager(4096)
	b.advertise("one")
	start := b.running("one", "app", "i1")
	instance := func(s messaging.State) messaging.Instance {
		return state(string(start.Droplet), start.Version, "i1", 0, s)
	}
	b.goodbye("one") // USR1
	view := b.dea("one", "not offering")
	assert.Equal(t, map[string]int{"app": 1}, view.Instances)
	assert.Zero(t, view.MemoryMB)
	b.goodbye("one")
	b.beat("one", instance(messaging.Evacuating))
	b.dea("one", "leaving")
	b.beat("one", instance(messaging.Crashed))
	b.event("dea.left")
	assert.Empty(t, b.DEAs())
	b.beat("one", instance(messaging.Crashed)) // the last one of a DEA that ends
	b.goodbye("two")                           // of which nothing is known
	b.advertise("three")
	b.dea("three", "ok")
	assert.Len(t, b.DEAs(), 1)
	assert.Equal(t, 1, b.count("dea.leaving"))
	assert.Equal(t, 1, b.count("dea.left"))
	assert.Equal(t, 2, b.count("dea.joined"))
	assert.Zero(t, b.count("dea.lost"))
}

func TestCrashesOfDeletedAppsHaveNames(t *testing.T) {
	b := newBus(t, controller.Config{})
	b.stager(4096)
	b.advertise("one")
	result := b.push(controller.Settings{Name: "app"})
	start := <-b.starts
	b.beat("one", state(string(start.Droplet), start.Version, "i1", 0, messaging.Starting))
	require.NoError(t, messaging.DropletExited.Publish(b.conn, messaging.Exit{
		Droplet: start.Droplet, Version: start.Version, Instance: "i1", Reason: messaging.ReasonCrashed, ExitStatus: 3, ExitDescription: "gone",
	}))
	var crash *controller.CrashError
	require.ErrorAs(t, <-result, &crash)
	assert.Equal(t, controller.CrashError{Instance: "i1", Why: "gone (status 3)"}, *crash)
	view := b.dea("one", "ok") // before any heartbeat says so
	assert.Empty(t, view.Instances)
	assert.Equal(t, map[string]int{"app": 1}, view.Crashed)
	require.NoError(t, b.Delete("app"))
	assert.Equal(t, map[string]int{"app (deleted)": 1}, b.dea("one", "ok").Crashed)
}

// TestInstancesOfUnknownAppsAreLeftAloneForAWhile: a controller that was restarted does not end everything at once.
func TestInstancesOfUnknownAppsAreLeftAloneForAWhile(t *testing.T) {
	b := newBus(t, controller.Config{Strangers: time.Hour})
	b.stager(4096)
	b.beat("one", state("0123456789abcdef", "v", "stranger", 0, messaging.Running))
	told := b.event("instance.unknown")
	assert.Equal(t, "unknown app 0123456789ab", told.App)
	assert.Contains(t, told.Text, "stopped in 1h0m0s")
	b.advertise("one")
	start := b.running("two", "app", "i1")
	require.NoError(t, b.Delete("app")) // one that it did know
	assert.Equal(t, start.Droplet, (<-b.stops).Droplet)
	assert.Equal(t, 1, b.count("instance.unknown"))
	for len(b.stops) > 0 {
		assert.Equal(t, start.Droplet, (<-b.stops).Droplet)
	}

	hasty := newBus(t, controller.Config{Strangers: 10 * time.Millisecond})
	hasty.beat("one", state("0123456789abcdef", "v", "stranger", 0, messaging.Running))
	assert.Equal(t, messaging.Texts{"stranger"}, (<-hasty.stops).Instances)
}

func TestTheLastDEAIsEvacuatedByForceOnly(t *testing.T) {
	told := make(chan string, 10)
	b := newBus(t, controller.Config{Evacuate: func(id string) bool { told <- id; return id != "foreign" }})
	b.advertise("one")
	b.dea("one", "ok")
	_, err := b.Evacuate("o", false)
	require.ErrorIs(t, err, controller.ErrLastDEA)
	b.advertise("other")
	b.advertise("foreign")
	b.dea("other", "ok")
	b.dea("foreign", "ok")
	for id, want := range map[string]error{
		"o": controller.ErrAmbiguous, "": controller.ErrNoDEA, "x": controller.ErrNoDEA, "foreign": controller.ErrElsewhere,
	} {
		_, err := b.Evacuate(id, false)
		require.ErrorIs(t, err, want, id)
	}
	assert.Equal(t, "foreign", <-told)
	_, err = b.Evacuate("on", false)
	require.NoError(t, err)
	assert.Equal(t, "one", <-told)
	b.goodbye("one")
	b.goodbye("foreign")
	b.dea("one", "not offering")
	b.dea("foreign", "not offering")
	_, err = b.Evacuate("one", false)
	require.ErrorIs(t, err, controller.ErrLeaving)
	assert.Equal(t, "one", <-told, "to tell it again does no harm")
	_, err = b.Evacuate("other", true)
	require.NoError(t, err)
	assert.Equal(t, "other", <-told)
}

func TestPushWithoutDEAsEnds(t *testing.T) {
	b := newBus(t, controller.Config{PlacementTimeout: 100 * time.Millisecond})
	b.stager(4096)
	err := <-b.push(controller.Settings{Name: "app"})
	assert.ErrorContains(t, err, "0 of 1 instances of the new version came up, and for 100ms no DEA offers 128 MB of memory and 512 MB of disk")
	var staging *controller.StagingError
	assert.NotErrorAs(t, err, &staging)
}

func TestPushThatNoStagerCanTakeEnds(t *testing.T) {
	b := newBus(t, controller.Config{})
	b.stager(1500)
	err := <-b.push(controller.Settings{Name: "app", MemoryMB: 100000})
	var staging *controller.StagingError
	require.ErrorAs(t, err, &staging)
	assert.ErrorContains(t, err, "no stager offers 100000 MB of memory and 2048 MB of disk; the most is 1500 MB of memory")
}

// TestNewVersionWithFewerInstances: what the old one has too many serves until the new one does.
func TestNewVersionWithFewerInstances(t *testing.T) {
	b := newBus(t, controller.Config{})
	b.stager(4096)
	b.advertise("one")
	result := b.push(controller.Settings{Name: "app", Instances: 3})
	var old []messaging.Instance
	for range 3 {
		start := <-b.starts
		old = append(old, state(string(start.Droplet), start.Version, strings.Repeat("a", start.Index+1), start.Index, messaging.Running))
	}
	b.beat("one", old...)
	require.NoError(t, <-result)

	result = b.push(controller.Settings{Name: "app", Instances: 1})
	start := <-b.starts
	b.beat("one", append(old, state(string(start.Droplet), start.Version, "new", 0, messaging.Starting))...)
	b.dea("one", "ok")
	b.eventually("the heartbeat was heard", func() bool { return b.DEAs()[0].Instances["app"] == 4 })
	assert.Empty(t, b.stops)
	apps := b.Apps()
	assert.Equal(t, 3, apps[0].Running)
	b.beat("one", append(old, state(string(start.Droplet), start.Version, "new", 0, messaging.Running))...)
	require.NoError(t, <-result)
	assert.Equal(t, 1, b.Apps()[0].Running, "of one that is wanted, whatever else is still there")
	stopped := map[string]bool{}
	for len(stopped) < 3 {
		for _, i := range (<-b.stops).Instances {
			stopped[i] = true
		}
	}
	assert.Equal(t, map[string]bool{"a": true, "aa": true, "aaa": true}, stopped)
}

// TestScaleDuringAPush is not undone when the push is done.
func TestScaleDuringAPush(t *testing.T) {
	b := newBus(t, controller.Config{})
	b.stager(4096)
	b.advertise("one")
	result := b.push(controller.Settings{Name: "app"})
	first := <-b.starts
	require.NoError(t, b.Scale("app", 2))
	second := <-b.starts
	assert.Equal(t, first.Version, second.Version)
	b.beat("one", state(string(first.Droplet), first.Version, "i0", 0, messaging.Running),
		state(string(first.Droplet), first.Version, "i1", 1, messaging.Running))
	require.NoError(t, <-result)
	assert.Equal(t, 2, b.Apps()[0].Settings.Instances)
}

// Apps may reach the public internet, and no private network.
func TestEgressRules(t *testing.T) {
	b := newBus(t, controller.Config{})
	b.stager(4096)
	b.advertise("one")
	rules := b.running("one", "app", "i1").EgressNetworkRules
	allowed := func(address string) bool {
		return slices.ContainsFunc(rules, func(r messaging.EgressRule) bool {
			first, last, isRange := strings.Cut(r.Destination, "-")
			require.True(t, isRange, r.Destination)
			a := netip.MustParseAddr(address)
			return r.Protocol == "all" && a.Compare(netip.MustParseAddr(first)) >= 0 && a.Compare(netip.MustParseAddr(last)) <= 0
		})
	}
	for _, public := range []string{"1.1.1.1", "9.255.255.255", "11.0.0.0", "151.101.2.132", "172.15.0.1", "172.32.0.1", "192.167.1.1", "203.0.113.9"} {
		assert.True(t, allowed(public), public)
	}
	for _, private := range []string{"10.0.0.0", "10.255.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"} {
		assert.False(t, allowed(private), private)
	}
}
