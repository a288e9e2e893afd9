package directory

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// Those who come while a listing is made share the next one: none gets what was begun before he asked.
func TestSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sharing[string]
		var rounds atomic.Int32
		first := make(chan struct{})
		work := func() ([]byte, error) {
			n := rounds.Add(1)
			if n == 1 {
				<-first
			}
			return []byte{byte(n)}, nil
		}
		results := make(chan byte, 20)
		ask := func(key string) {
			body, err := s.do(t.Context(), key, work)
			assert.NoError(t, err)
			results <- body[0]
		}
		go ask("a")
		synctest.Wait() // it is at work
		for range 10 {
			go ask("a")
		}
		synctest.Wait()
		assert.Empty(t, results)
		assert.EqualValues(t, 1, rounds.Load())
		close(first)
		synctest.Wait()
		assert.EqualValues(t, 2, rounds.Load())
		seen := map[byte]int{}
		for range 11 {
			seen[<-results]++
		}
		assert.Equal(t, map[byte]int{1: 1, 2: 10}, seen)
		assert.Empty(t, s.queues)

		ask("a")
		ask("b")
		assert.EqualValues(t, 4, rounds.Load(), "nothing is kept")
	})
}

// Whoever waits may leave, and a failure is everybody's and nobody's for long.
func TestSharingEndings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sharing[int]
		hold := make(chan struct{})
		failure := errors.New("failure")
		go func() { _, _ = s.do(t.Context(), 0, func() ([]byte, error) { <-hold; return nil, nil }) }()
		synctest.Wait()
		errs := make(chan error, 2)
		go func() {
			defer func() { errs <- recover().(error) }()
			_, _ = s.do(t.Context(), 0, func() ([]byte, error) { panic(failure) })
		}()
		synctest.Wait()
		waiting, leave := context.WithCancel(t.Context())
		go func() {
			_, err := s.do(waiting, 0, nil)
			errs <- err
		}()
		other := make(chan error, 1)
		go func() {
			_, err := s.do(t.Context(), 0, nil)
			other <- err
		}()
		synctest.Wait()
		leave()
		assert.ErrorIs(t, <-errs, context.Canceled)
		close(hold)
		assert.ErrorIs(t, <-errs, failure)
		assert.ErrorIs(t, <-other, errShared)
		_, err := s.do(t.Context(), 0, func() ([]byte, error) { return nil, failure })
		assert.ErrorIs(t, err, failure)
		assert.Empty(t, s.queues)
	})
}
