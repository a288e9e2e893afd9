package methods

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// One holds a turn, as many as may wait, and whoever is sent away leaves with the reason.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := newTurn()
		leave, err := turn.take(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancelCause(t.Context())
		results := make(chan error, maxWaiting)
		for range maxWaiting - 1 {
			go func() {
				_, err := turn.take(ctx)
				results <- err
			}()
		}
		synctest.Wait()
		_, err = turn.take(t.Context())
		assert.ErrorIs(t, err, errCrowded)
		reason := errors.New("enough")
		cancel(reason)
		for range maxWaiting - 1 {
			assert.ErrorIs(t, <-results, reason)
		}
		leave()
		_, err = turn.take(ctx)
		assert.ErrorIs(t, err, reason, "although it is free")
		leave, err = turn.take(t.Context())
		require.NoError(t, err)
		leave()
	})
}
