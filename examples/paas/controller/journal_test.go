package controller

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestJournalKeepsTheNewest(t *testing.T) {
	j := newJournal(10, func(n int64) int { return int(n) }) // entry n is n large
	for range 5 {
		j.add(func(seq int64) int64 { return seq })
	}
	for after, want := range map[int64][]int64{0: {4, 5}, 3: {4, 5}, 4: {5}, 5: {}, 9: {}} {
		got, last, _ := j.after(after)
		assert.Equal(t, want, got, after)
		assert.EqualValues(t, 5, last)
	}
	assert.EqualValues(t, 5, j.last())
}

func TestJournalIsFollowedToItsEnd(t *testing.T) {
	j := newJournal(1000, func(int) int { return 1 })
	number := func(seq int64) int { return int(seq) }
	j.add(number)
	var heard []int
	for n := range j.follow(t.Context(), 0) {
		heard = append(heard, n)
		switch n {
		case 1, 2:
			j.add(number)
		case 3:
			j.end()
			j.end()
			j.add(number) // too late
		}
	}
	assert.Equal(t, []int{1, 2, 3}, heard)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := newJournal(1000, func(int) int { return 1 })
	open.add(number)
	for range open.follow(ctx, 0) {
		cancel() // and the loop ends
	}
}
