package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/internal/pidfile"
)

// oneSignal is how long several signals to end count as one: a terminal or a supervisor may send the same to a process
// and to its group.
const oneSignal = time.Second

// keepSignals keeps those that do not ask for the end until somebody obeys them: they must not end what is not ready. The
// others may end it at any time, as kill -9 may.
func keepSignals() chan os.Signal {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP)
	return signals
}

// obeySignals does what signals ask for, until stop is called.
func (n *node) obeySignals(signals chan os.Signal, end func()) (stop func()) {
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		var ending time.Time
		for {
			select {
			case s := <-signals:
				n.log.Warn("caught SIG" + names[s])
				switch s {
				case syscall.SIGUSR1:
					n.dea.StopAdvertising()
				case syscall.SIGUSR2:
					n.dea.Evacuate()
				case syscall.SIGHUP:
					n.log.reopen()
				default:
					switch {
					case ending.IsZero():
						ending = time.Now()
						end()
					case time.Since(ending) > oneSignal:
						fmt.Fprintln(os.Stderr, "dea: ended at once by a second signal; apps that still run are for the next start")
						os.Exit(exitFailed)
					}
				}
			case <-over:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(over)
		<-gone
	}
}

var names = map[os.Signal]string{
	syscall.SIGTERM: "TERM", syscall.SIGINT: "INT", syscall.SIGQUIT: "QUIT",
	syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2", syscall.SIGHUP: "HUP",
}

// claim writes the pid file, and keeps a second DEA from starting with the same configuration.
func claim(cfg *config.Config) (*pidfile.File, error) {
	pid, err := pidfile.Create(cfg.PIDFilename)
	if err != nil {
		return nil, fmt.Errorf("dea: %w", err)
	}
	return pid, nil
}
