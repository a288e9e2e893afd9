package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/examples/internal/signals"
	"github.com/deakit/deakit/internal/pidfile"
)

// keepSignals keeps those that do not ask for the end until there is a node that obeys them.
func keepSignals() signals.Kept {
	return signals.Keep(syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP)
}

// obeySignals does what signals ask for, until stop is called.
func (n *node) obeySignals(kept signals.Kept, end func()) (stop func()) {
	return kept.Obey(signals.Orders{
		End: []func(){end, func() {
			fmt.Fprintln(os.Stderr, "dea: ended at once by a second signal; apps that still run are for the next start")
			os.Exit(exitFailed)
		}},
		Others: map[os.Signal]func(){
			syscall.SIGUSR1: n.dea.StopAdvertising, syscall.SIGUSR2: n.dea.Evacuate, syscall.SIGHUP: n.log.reopen,
		},
		Each: func(s os.Signal) { n.log.Warn("caught SIG" + names[s]) },
	})
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
