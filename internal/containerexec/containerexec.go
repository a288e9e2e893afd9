// Package containerexec runs programs in containers to their end.
package containerexec

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/deakit/deakit/container"
)

// lastWait bounds what the end of a process that was killed may take.
const lastWait = 10 * time.Second

// Run runs a process until it ends, and returns its status. When ctx ends first the process is killed, with its process
// group, and waited for; the error wraps the cause of ctx then.
func Run(ctx context.Context, c container.Container, spec container.ProcessSpec, pio container.IO) (container.ExitStatus, error) {
	process, err := c.Run(ctx, spec, pio)
	if err != nil {
		return 0, err
	}
	status, err := process.Wait(ctx)
	if ctx.Err() == nil {
		return status, err
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
	defer cancel()
	err = process.Signal(end, syscall.SIGKILL)
	_, waited := process.Wait(end)
	return 0, errors.Join(context.Cause(ctx), err, waited)
}
