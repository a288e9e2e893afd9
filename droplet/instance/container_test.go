package instance_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

// What is asked of a back end for an instance, and in which order.
func TestContainerOfAnInstance(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.Owner, n.cfg.DiskInodes = "me", 1000
	n.cfg.Bandwidth = &container.Bandwidth{BytesPerSecond: 5, BurstBytes: 6}
	n.cfg.BindMounts = []container.BindMount{{Src: t.TempDir(), Dst: "/shared"}}
	n.cfg.RootFS = func(stack string) (string, error) { return "/stacks/" + stack, nil }
	backend := &bent{Backend: n.backend}
	m := n.message(testapp.Serves)
	m.Stack = "lucid64"
	m.EgressNetworkRules = []messaging.EgressRule{
		{Protocol: "all", Destination: "0.0.0.0/0", Log: true},
		{Protocol: "tcp", Destination: "10.0.0.0/8", Ports: "80,8000-8010"},
	}
	i, _ := n.runOn(t.Context(), backend, m)
	n.await(i, messaging.Running)
	assert.Equal(t, []string{
		"Create", "NetIn 0 0", "NetOut tcp 10.0.0.0/8 80", "NetOut tcp 10.0.0.0/8 8000:8010", "NetOut all 0.0.0.0/0 ",
	}, backend.calls)
	assert.Equal(t, container.Spec{
		RootFS: "/stacks/lucid64", BindMounts: n.cfg.BindMounts,
		Limits: container.Limits{
			MemoryBytes: 256 << 20, DiskBytes: 256 << 20, DiskInodes: 1000, CPUShares: 32, Bandwidth: n.cfg.Bandwidth,
		},
		Properties: map[string]string{"app": "app", "instance": i.Status().ID, "owner": "me"},
	}, backend.spec)
}

// Shares are an eighth of the megabytes, between 1 and 256.
func TestSharesOfTheProcessor(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.ledger = resources.NewLedger(resources.Capacity{MemoryBytes: 8 << 30, DiskBytes: 8 << 30})
	for memory, shares := range map[int64]int64{4: 1, 64: 8, 512: 64, 4096: 256} {
		backend := &bent{Backend: n.backend}
		m := n.message(testapp.NeverListens)
		m.Limits.Mem = memory
		i, over := n.runOn(t.Context(), backend, m)
		require.Eventually(t, func() bool { return i.Status().HostPort != 0 || i.Status().State == messaging.Crashed }, patience, tick)
		i.Stop()
		wait(t, over)
		i.Release()
		assert.Equal(t, shares, backend.spec.Limits.CPUShares, "%d MB", memory)
	}
}
