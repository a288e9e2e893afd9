package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/deakit/deakit/examples/internal/signals"
)

// keepSignals keeps those that do not end a process by themselves until there is a node that obeys them.
func keepSignals() signals.Kept { return signals.Keep(syscall.SIGUSR2, syscall.SIGHUP) }

// obeySignals does what signals ask for, until stop is called: the first one to end calls end, the second one abort, and the third one
// ends the process.
func obeySignals(kept signals.Kept, end, abort, reopen func()) (stop func()) {
	return kept.Obey(signals.Orders{
		EndBy: []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2},
		End: []func(){end, abort, func() {
			fmt.Fprintln(os.Stderr, "stager: ended at once by a third signal; what tasks left, the next start removes")
			os.Exit(exitFailed)
		}},
		Others: map[os.Signal]func(){syscall.SIGHUP: reopen},
	})
}
