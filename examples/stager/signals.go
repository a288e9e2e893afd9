package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// oneSignal is how long several signals to end count as one: a terminal or a supervisor may send the same to a process and to
// its group.
const oneSignal = time.Second

// keepSignals keeps those that do not end a process by themselves until somebody obeys them.
func keepSignals() chan os.Signal {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR2, syscall.SIGHUP)
	return signals
}

// obeySignals returns a context that the first signal to end ends. The second one aborts, the third one ends the process. stop
// is called when signals are obeyed no more.
func obeySignals(signals chan os.Signal, abort, reopen func()) (ctx context.Context, stop func()) {
	ctx, end := context.WithCancel(context.Background())
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		told := 0
		var last time.Time
		for {
			select {
			case <-over:
				return
			case s := <-signals:
				if s == syscall.SIGHUP {
					reopen()
					continue
				}
				if time.Since(last) < oneSignal {
					continue
				}
				last = time.Now()
				switch told++; told {
				case 1:
					end()
				case 2:
					abort()
				default:
					fmt.Fprintln(os.Stderr, "stager: ended at once by a third signal; what tasks left, the next start removes")
					os.Exit(exitFailed)
				}
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		<-gone
		end()
	}
}
