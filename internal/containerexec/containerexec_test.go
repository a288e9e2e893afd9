package containerexec_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerexec"
	"github.com/deakit/deakit/internal/stagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// began ends a context with a cause when something is written.
type began struct{ cancel context.CancelCauseFunc }

var errEnough = errors.New("that was enough")

func (b began) Write(p []byte) (int, error) {
	b.cancel(errEnough)
	return len(p), nil
}

func TestRun(t *testing.T) {
	c := stagetest.Container(t, container.Spec{})
	status, err := containerexec.Run(t.Context(), c, container.ProcessSpec{Path: "/bin/sh", Args: []string{"-c", "exit 7"}}, container.IO{})
	require.NoError(t, err)
	assert.EqualValues(t, 7, status)
	_, err = containerexec.Run(t.Context(), c, container.ProcessSpec{Path: "/no/such/program"}, container.IO{})
	require.Error(t, err)

	ctx, cancel := context.WithCancelCause(t.Context())
	spec := container.ProcessSpec{Path: "/bin/sh", Args: []string{"-c", "sleep 600 & echo begun; wait"}}
	_, err = containerexec.Run(ctx, c, spec, container.IO{Stdout: began{cancel}})
	require.ErrorIs(t, err, errEnough)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Empty(t, info.Processes, "it has ended, and those whom it has started")
}
