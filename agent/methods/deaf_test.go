package methods_test

import (
	"context"

	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/messaging"
)

// deaf is a supervisor that does not say how processes are, until whoever asks gives up.
type deaf struct{ supervisor.JobSupervisor }

func (deaf) Status(ctx context.Context) supervisor.Status {
	<-ctx.Done()
	return supervisor.Status{State: messaging.JobUnknown, Err: ctx.Err()}
}
