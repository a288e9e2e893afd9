package controller

import (
	"context"
	"slices"
	"sync"
)

// A journal holds the newest entries of a row of them, and wakes those who wait for the next. Entries are numbered from 1.
// It may be used from any goroutine.
type journal[T any] struct {
	limit int         // of the sizes of all entries together; the oldest go first
	size  func(T) int // of one

	mu      sync.Mutex
	entries []T
	gone    int64 // entries that are no longer kept; entries[0] is the next
	total   int   // sizes of entries
	over    bool
	more    chan struct{} // closed and replaced when an entry comes; closed for good when no more will
}

func newJournal[T any](limit int, size func(T) int) *journal[T] {
	return &journal[T]{limit: limit, size: size, more: make(chan struct{})}
}

// add appends what number makes of the number of the entry.
func (j *journal[T]) add(number func(seq int64) T) T {
	j.mu.Lock()
	defer j.mu.Unlock()
	entry := number(j.gone + int64(len(j.entries)) + 1)
	if j.over {
		return entry
	}
	j.entries = append(j.entries, entry)
	for j.total += j.size(entry); j.total > j.limit && len(j.entries) > 1; {
		j.total -= j.size(j.entries[0])
		clear(j.entries[:1]) // the array may live on for a while
		j.entries = j.entries[1:]
		j.gone++
	}
	close(j.more)
	j.more = make(chan struct{})
	return entry
}

// end says that no more will come.
func (j *journal[T]) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.over {
		j.over = true
		close(j.more)
	}
}

// last returns the number of the newest entry.
func (j *journal[T]) last() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.gone + int64(len(j.entries))
}

// after returns the entries behind seq with the number of the last one, and a channel that is closed when there are more.
// The channel is nil when there will be none.
func (j *journal[T]) after(seq int64) ([]T, int64, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	more := j.more
	if j.over {
		more = nil
	}
	first := min(max(seq-j.gone, 0), int64(len(j.entries)))
	return slices.Clone(j.entries[first:]), j.gone + int64(len(j.entries)), more
}

// follow yields the entries behind seq until ctx ends, the journal does, or the loop is left.
func (j *journal[T]) follow(ctx context.Context, seq int64) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for {
			entries, last, more := j.after(seq)
			for _, e := range entries {
				if !yield(e) {
					return
				}
			}
			seq = last
			switch {
			case len(entries) > 0:
				continue
			case more == nil:
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}
