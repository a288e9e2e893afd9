package applog

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTee(t *testing.T) {
	assert.Equal(t, Discard, Tee())
	assert.Equal(t, Discard, Tee(nil, nil))
	a, b := &recorder{}, &recorder{}
	assert.Same(t, a, Tee(nil, a))
	both := Tee(a, Discard, b)
	both.Emit(Line{Text: "x"})
	assert.Len(t, a.all(), 1)
	assert.Equal(t, a.all(), b.all())
	assert.False(t, a.all()[0].Time.IsZero(), "one time for all")
}

func TestQueueLosesTheOldest(t *testing.T) {
	var tally tally
	q := newQueue(10*(lineCost+1), &tally)
	for i := range 25 {
		q.put(Line{Text: string(rune('a' + i))})
	}
	var kept string
	for _, l := range q.take() {
		kept += l.Text
	}
	assert.Equal(t, "pqrstuvwxy", kept)
	assert.EqualValues(t, 15, tally.stats().Lost)
	q.put(Line{Text: fmt.Sprint(make([]byte, 4096))})
	assert.Empty(t, q.take(), "a line that alone is too large")
	assert.EqualValues(t, 16, tally.stats().Lost)
	q.close()
	q.put(Line{})
	assert.Empty(t, q.take())
	assert.EqualValues(t, 17, tally.stats().Lost)
}

// A burst is told once, and what comes later not before a minute has passed.
func TestLossesAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tally tally
		book := &logBook{}
		q := newQueue(lineCost, &tally)
		burst := func(n int) {
			for range n + 1 {
				q.put(Line{})
			}
			q.take()
			q.tell(book.logger(), false)
		}
		q.tell(book.logger(), false)
		assert.Empty(t, book.String())
		burst(1000)
		assert.Equal(t, 1, book.count("applog.lines.lost"))
		assert.Contains(t, book.String(), "lost=1000")
		time.Sleep(30 * time.Second)
		burst(10)
		assert.Equal(t, 1, book.count("applog.lines.lost"))
		time.Sleep(30 * time.Second)
		burst(10)
		assert.Contains(t, book.String(), "lost=20")
		burst(7)
		assert.Equal(t, 2, book.count("applog.lines.lost"))
		q.tell(book.logger(), true)
		assert.Contains(t, book.String(), "lost=7")
		assert.Zero(t, testing.AllocsPerRun(10, func() { q.tell(nil, true) }), "nothing left to tell")
	})
}
