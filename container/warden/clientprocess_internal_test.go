package warden

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// remembering returns a box whose processes are saved.
func remembering(t *testing.T) *box {
	state, err := openState(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, state.close()) })
	c := (&Backend{state: state, log: slog.New(slog.DiscardHandler)}).newBox("box", record{})
	require.NoError(t, state.make(c.handle, c.record))
	return c
}

func (c *box) remembered(t *testing.T) map[uint32]processRecord {
	found, err := c.b.state.loadProcesses(c.handle)
	require.NoError(t, err)
	return found
}

// Whoever saves the end of a process waits until it is settled: nothing is saved after that, which could hide the end.
func TestProcessIsSavedBeforeItIsSettled(t *testing.T) {
	c := remembering(t)
	for id := uint32(1); id <= 100; id++ {
		p := c.newProcess(false)
		entered := make(chan struct{})
		go func() { p.enter(7); close(entered) }()
		<-p.settled
		status := 3
		require.NoError(t, c.b.state.saveProcess(c.handle, id, processRecord{Status: &status}))
		<-entered
		require.Equal(t, &status, c.remembered(t)[id].Status)
	}
}

// A Backend that ends knows nothing of the end of its processes; the next one asks again.
func TestClosingIsNoEndOfAProcess(t *testing.T) {
	c := remembering(t)
	p := c.newProcess(false)
	p.enter(7)
	p.status, p.err = -1, ErrClosed
	close(p.ended)
	p.save()
	assert.Equal(t, map[uint32]processRecord{1: {PID: 7}}, c.remembered(t))

	q := c.newProcess(false)
	q.status = 4
	close(q.ended)
	q.enter(8) // after its end
	require.NotNil(t, c.remembered(t)[2].Status)
	assert.Equal(t, 4, *c.remembered(t)[2].Status)
}
