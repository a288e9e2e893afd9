package messagingtest_test

import (
	"context"
	"os/exec"
	"sync"
	"testing"

	"github.com/deakit/deakit/messaging/messagingtest"
)

// A server comes back on its port, whatever other goroutines start meanwhile.
func TestRestartWhileProgramsAreStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	for range 4 {
		others.Go(func() {
			for ctx.Err() == nil {
				_ = exec.Command("/bin/true").Run()
			}
		})
	}
	s := messagingtest.NewServer(t)
	for range 30 {
		s.Stop()
		s.Start()
	}
}
