package mailbox

import (
	"sync"
	"testing"
)

func TestEveryValueArrivesInTheOrderOfItsWriter(t *testing.T) {
	type value struct{ writer, n int }
	const writers, each = 8, 500
	m := New[value]()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				m.Put(value{w, n})
			}
		})
	}
	next, got := [writers]int{}, 0
	for got < writers*each {
		<-m.Ready()
		for _, v := range m.Take() {
			if v.n != next[v.writer] {
				t.Fatalf("writer %d: got %d, want %d", v.writer, v.n, next[v.writer])
			}
			next[v.writer]++
			got++
		}
	}
	wg.Wait()
	if left := m.Take(); len(left) != 0 {
		t.Fatalf("%d values left", len(left))
	}
}
