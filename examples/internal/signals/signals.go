// Package signals lets a program that serves obey signals.
package signals

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// AsOne is how long several signals to end count as one: a terminal or a supervisor may send the same to a process and to its
// group.
const AsOne = time.Second

// Orders are what signals ask for. All are called by one goroutine, one after the other.
type Orders struct {
	EndBy  []os.Signal          // those that ask for the end; nil is TERM, INT and QUIT
	End    []func()             // the first of these, the second and so on, AsOne apart; the last one also for all that follow
	Others map[os.Signal]func() // those that were kept
	Each   func(os.Signal)      // every signal, before the rest; nil is fine
}

// Kept are signals that wait to be obeyed.
type Kept chan os.Signal

// Keep keeps signals, one at least, until somebody obeys them: they must not end what is not ready. Those that ask for the end need
// not be among them; they end it at any time, as kill -9 does.
func Keep(signals ...os.Signal) Kept {
	kept := make(Kept, 8)
	signal.Notify(kept, signals...)
	return kept
}

// Obey does what signals ask for, until stop is called, which waits for the last one.
func (k Kept) Obey(orders Orders) (stop func()) {
	endBy := orders.EndBy
	if endBy == nil {
		endBy = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT}
	}
	signal.Notify(k, endBy...)
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		var told int // to end
		var last time.Time
		for {
			select {
			case <-over:
				return
			case s := <-k:
				if orders.Each != nil {
					orders.Each(s)
				}
				if other := orders.Others[s]; other != nil {
					other()
					continue
				}
				if time.Since(last) < AsOne {
					continue
				}
				last = time.Now()
				orders.End[min(told, len(orders.End)-1)]()
				told++
			}
		}
	}()
	return func() {
		signal.Stop(k)
		close(over)
		<-gone
	}
}
