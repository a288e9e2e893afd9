package hostport_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/hostport"
)

func TestPoolDrawsInTurn(t *testing.T) {
	// The range is asked for by nobody else; which of its ports others listen at does not matter.
	pool := hostport.NewPool(hostport.Range{First: 20000, Last: 20009})
	held := map[uint16]*hostport.Port{}
	for {
		port, err := pool.Draw()
		if err != nil {
			break
		}
		assert.NotContains(t, held, port.Number())
		held[port.Number()] = port
	}
	require.NotEmpty(t, held)
	var first *hostport.Port
	for _, p := range held {
		if first == nil {
			first = p
			continue
		}
		p.Release()
	}
	first.Release()

	if len(held) > 1 {
		a, err := pool.Draw()
		require.NoError(t, err)
		a.Release()
		b, err := pool.Draw()
		require.NoError(t, err)
		b.Release()
		assert.NotEqual(t, a.Number(), b.Number(), "a port that was given back came back at once")
	}
}

func TestDefault(t *testing.T) {
	r := hostport.Default()
	assert.GreaterOrEqual(t, int(r.Last)-int(r.First), 999)
	assert.GreaterOrEqual(t, r.First, uint16(1024))
}
