package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// oneSignal is how long several signals to end count as one: a terminal or a supervisor may send the same to a process
// and to its group.
const oneSignal = time.Second

// obeySignals returns a context that the first signal to end ends. The second one ends the process. stop is called when
// signals are obeyed no more.
func obeySignals(reopen func()) (ctx context.Context, stop func()) {
	ctx, end := context.WithCancel(context.Background())
	signals, over, gone := make(chan os.Signal, 8), make(chan struct{}), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	go func() {
		defer close(gone)
		var ending time.Time
		for {
			select {
			case <-over:
				return
			case s := <-signals:
				switch {
				case s == syscall.SIGHUP:
					reopen()
				case ending.IsZero():
					ending = time.Now()
					end()
				case time.Since(ending) > oneSignal:
					fmt.Fprintln(os.Stderr, "directoryserver: ended at once by a second signal")
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
