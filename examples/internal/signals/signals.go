// Package signals lets a program that serves obey signals.
package signals

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// oneSignal is how long several signals to end count as one: a terminal or a supervisor may send the same to a process
// and to its group.
const oneSignal = time.Second

// Orders are what signals ask for. All are called by one goroutine, one after the other.
type Orders struct {
	End    func()               // the first TERM, INT or QUIT
	AtOnce func()               // further ones, a second after the first or later
	Others map[os.Signal]func() // those that were kept
	Each   func(os.Signal)      // every signal, before the rest; nil is fine
}

// Kept are signals that wait to be obeyed.
type Kept chan os.Signal

// Keep keeps signals that do not ask for the end until somebody obeys them: they must not end what is not ready. Those that ask for
// the end do so at any time, as kill -9 does.
func Keep(others ...os.Signal) Kept {
	kept := make(Kept, 8)
	signal.Notify(kept, others...)
	return kept
}

// Obey does what signals ask for, until stop is called, which waits for the last one.
func (k Kept) Obey(orders Orders) (stop func()) {
	signal.Notify(k, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		var ending time.Time
		for {
			select {
			case <-over:
				return
			case s := <-k:
				if orders.Each != nil {
					orders.Each(s)
				}
				other := orders.Others[s]
				switch {
				case other != nil:
					other()
				case ending.IsZero():
					ending = time.Now()
					orders.End()
				case time.Since(ending) > oneSignal:
					orders.AtOnce()
				}
			}
		}
	}()
	return func() {
		signal.Stop(k)
		close(over)
		<-gone
	}
}
