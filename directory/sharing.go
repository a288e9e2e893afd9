package directory

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// A sharing lets requests that want the same thing at the same time do the work once. Nobody gets what was begun before
// he asked: whoever comes while the work is done waits for the next round, which is for all who came meanwhile.
type sharing[K comparable] struct {
	mu     sync.Mutex
	queues map[K]*queue
}

// A queue has a round under way, if any, and one that gathers.
type queue struct{ now, next *round }

type round struct {
	done chan struct{}
	body []byte // belongs to all, and must not change
	err  error
}

var errShared = errors.New("a request that others waited for has failed")

// do returns what work does, in a round that begins after the call.
func (s *sharing[K]) do(ctx context.Context, key K, work func() ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	q := s.queues[key]
	if q == nil {
		if s.queues == nil {
			s.queues = map[K]*queue{}
		}
		q = &queue{}
		s.queues[key] = q
	}
	if r := q.next; r != nil {
		s.mu.Unlock()
		select {
		case <-r.done:
			return r.body, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	// The first of a round does the work for all who join, and so goes on when its client is gone.
	r, before := &round{done: make(chan struct{})}, q.now
	q.next = r
	s.mu.Unlock()
	if before != nil {
		<-before.done
	} else {
		runtime.Gosched() // requests that are here already may join; on an idle machine it is nothing
	}
	s.mu.Lock()
	q.now, q.next = r, nil
	s.mu.Unlock()
	return s.run(key, q, work)
}

// run does the work of the round that is now.
func (s *sharing[K]) run(key K, q *queue, work func() ([]byte, error)) ([]byte, error) {
	r := q.now
	r.err = errShared // unless work returns
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if q.next == nil {
			delete(s.queues, key)
		}
		close(r.done)
	}()
	r.body, r.err = work()
	return r.body, r.err
}
