package runc_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
)

// TestSlotsComeBack makes containers where there are networks and user ids for two, of which those of a destroyed one are
// given to the next.
func TestSlotsComeBack(t *testing.T) {
	b := open(t, runc.Options{UIDs: 470_000, Network: runc.NetworkOptions{Pool: "10.253.77.0/29"}})
	first, second := create(t, b, container.Spec{}), create(t, b, container.Spec{})
	uid := output(t, first, shell("id -u"))
	assert.NotEqual(t, uid, output(t, second, shell("id -u")))
	_, err := b.Create(t.Context(), container.Spec{})
	require.ErrorContains(t, err, "enlarge Options.Network.Pool")
	require.NoError(t, first.Destroy(t.Context()))
	assert.Equal(t, uid, output(t, create(t, b, container.Spec{}), shell("id -u")))
}
