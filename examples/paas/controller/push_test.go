package controller_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// TestPushOfADeletedApp: the end of a push is no business of another app that took the name meanwhile.
func TestPushOfADeletedApp(t *testing.T) {
	c := controller.New(controller.Config{}, messagingtest.NewServer(t).Connect(), nil)
	first := controller.Settings{Name: "app"}
	deleted, err := c.Prepare(first)
	require.NoError(t, err)
	require.NoError(t, c.Delete("app"))
	second := controller.Settings{Name: "app"}
	guid, err := c.Prepare(second)
	require.NoError(t, err)

	assert.ErrorIs(t, c.Push(t.Context(), deleted, first), controller.ErrNoApp)
	apps := c.Apps()
	require.Len(t, apps, 1)
	assert.Equal(t, guid, apps[0].GUID)
	_, err = c.Prepare(second)
	assert.ErrorIs(t, err, controller.ErrBusy, "the second push goes on")
}
