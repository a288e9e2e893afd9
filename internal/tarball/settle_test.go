package tarball_test

import (
	"context"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/tarball"
)

// A program can be run as soon as it is extracted, whatever other goroutines start meanwhile.
func TestProgramsCanBeRunAtOnce(t *testing.T) {
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
	data := archive(t, file("program", "#!/bin/sh\n", 0o755))
	for range 300 {
		s := newSandbox(t)
		require.NoError(t, s.extract(data, tarball.ExtractOptions{}))
		require.NoError(t, exec.Command(s.path("program")).Run())
	}
}
