package containertrial_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/internal/containertrial"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is tried is tried in what is there of the directory, and nothing is left, whatever came of it.
func TestRun(t *testing.T) {
	errOpen := errors.New("not today")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx  context.Context
		open error
		want string
	}{
		"works":     {ctx: t.Context()},
		"no opener": {ctx: t.Context(), open: errOpen, want: errOpen.Error()},
		"too late":  {ctx: ended, want: context.Canceled.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := containertrial.Run(tc.ctx, filepath.Join(dir, "not", "there"), func(depot string) (*process.Backend, error) {
				assert.Equal(t, dir, filepath.Dir(depot))
				if tc.open != nil {
					return nil, tc.open
				}
				return process.New(process.Options{Depot: depot})
			})
			if tc.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.want)
			}
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}
