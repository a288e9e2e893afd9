package dea_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

func (w *world) decoded(message object) messaging.StartMessage {
	w.t.Helper()
	data, err := json.Marshal(message)
	require.NoError(w.t, err)
	start, err := messaging.DEAStart(w.dea.ID()).Decode(data)
	require.NoError(w.t, err)
	return start
}

// TestStartInReservedRoom: the instance takes the room that staging had, also where nothing else is left, and a DEA that is
// leaving gives it back.
func TestStartInReservedRoom(t *testing.T) {
	w := newWorld(t, nil)
	ledger := w.parts.Ledger
	room, err := ledger.Reserve(resources.Amount(ledger.Capacity()))
	require.NoError(t, err)
	message := w.startMessage(testapp.Serves, nil)
	w.dea.StartIn(room, w.decoded(message))
	w.running()
	limits := message["limits"].(object)
	assert.EqualValues(t, limits["mem"], room.Amount().MemoryBytes>>20, "no more than it needs")
	assert.Equal(t, room.Amount(), ledger.Reserved())

	// One that needs more than there is exits, and leaves nothing reserved.
	before := ledger.Reserved()
	small, err := ledger.Reserve(resources.Amount{MemoryBytes: 1 << 20, DiskBytes: 1 << 20})
	require.NoError(t, err)
	w.dea.StartIn(small, w.decoded(w.startMessage(testapp.Serves, func(m object) {
		m["index"], m["limits"] = 1, object{"mem": 1 << 20, "disk": 64, "fds": 64}
	})))
	assert.Equal(t, "Not enough memory resource available.", w.await("droplet.exited", nil)["exit_description"])
	assert.Equal(t, before, ledger.Reserved())

	w.dea.Evacuate()
	require.Eventually(t, w.dea.Leaving, patience, time.Millisecond)
	late, err := ledger.Reserve(resources.Amount{MemoryBytes: 64 << 20, DiskBytes: 64 << 20})
	require.NoError(t, err)
	w.dea.StartIn(late, w.decoded(w.startMessage(testapp.Serves, func(m object) { m["index"] = 2 })))
	require.Eventually(t, func() bool { return ledger.Reserved() == before }, patience, time.Millisecond)
	assert.Len(t, w.dea.Instances(), 1)
}
