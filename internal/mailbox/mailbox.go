// Package mailbox is a queue between goroutines whose writers never wait.
package mailbox

import "sync"

// A Mailbox passes values from any number of writers to one reader, in order. Its zero value is not usable; see New.
// It has no bound: use it where each writer writes a bounded number of values, such as the steps of one life.
type Mailbox[T any] struct {
	ready chan struct{}

	mu     sync.Mutex
	values []T
}

// New returns an empty Mailbox.
func New[T any]() *Mailbox[T] { return &Mailbox[T]{ready: make(chan struct{}, 1)} }

// Put adds a value. It never blocks.
func (m *Mailbox[T]) Put(value T) {
	m.mu.Lock()
	m.values = append(m.values, value)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default: // the reader has been told already
	}
}

// Ready receives when there may be something to take.
func (m *Mailbox[T]) Ready() <-chan struct{} { return m.ready }

// Take removes and returns all values.
func (m *Mailbox[T]) Take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	values := m.values
	m.values = nil
	return values
}
