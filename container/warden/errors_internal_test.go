package warden

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/deakit/deakit/container"
)

// TestKindsTravel sends errors of a back end through the text that is all that reaches a client.
func TestKindsTravel(t *testing.T) {
	_, missing := os.Stat("/does/not/exist")
	for _, kind := range []error{
		container.ErrNotFound, container.ErrStopped, container.ErrNoPort, container.ErrInvalid, container.ErrUnsupported, fs.ErrNotExist,
	} {
		for _, err := range []error{kind, fmt.Errorf("do it: %w", kind), fmt.Errorf("do it: %w: unknown handle", kind)} {
			assert.ErrorIs(t, newServerError(explain(err).Error()), kind, "%v", err)
		}
	}
	assert.ErrorIs(t, newServerError(explain(missing).Error()), fs.ErrNotExist)
	assert.ErrorIs(t, newServerError(textExists("x")), container.ErrExists)
	assert.ErrorIs(t, newServerError(textNoSource+"/x"), container.ErrInvalid)
	assert.ErrorIs(t, newServerError("rsync: link_stat \"/x\" failed: No such file or directory"), fs.ErrNotExist)
	for _, text := range []string{"", "command exited with failure", "copy /unknown handle: no space left on device"} {
		assert.NoError(t, errors.Unwrap(newServerError(text)), text)
	}
}
