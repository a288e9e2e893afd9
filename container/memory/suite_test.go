package memory_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	noHost     = "there are no files of a host"
	noChildren = "a program is one goroutine: it has no children and no process group"
	noRlimits  = "resource limits are told to the program, and not enforced"
	noLinks    = "links are kept, and not followed"
)

// TestConformance runs the suite with programs that do what the scripts of the suite say.
func TestConformance(t *testing.T) {
	containertest.Run(t, containertest.Config{
		StopGrace: 500 * time.Millisecond,
		New: func(t *testing.T) container.Backend {
			b := memory.New(memory.Options{Programs: programs, StopGrace: 500 * time.Millisecond})
			t.Cleanup(func() { assert.NoError(t, b.Close(context.Background())) })
			return b
		},
		Tolerances: containertest.Tolerances{Remote: true, Without: map[string]string{
			"Life/FailedCreateLeavesNothing": noHost,
			"Files/BindMounts":               noHost,
			"Hostile/ReplacedHome":           noLinks,
			"Hostile/PlantedLinks":           noLinks,
			"Hostile/Directory":              noLinks,
			"Hostile/Unreadable":             "nothing asks for permissions",
			"Run/Signal":                     noChildren,
			"IO/InheritedOutput":             noChildren,
			"Stop/Orphans":                   noChildren,
			"Stop/OthersLive":                noChildren,
			"Limits/OpenFiles":               noRlimits,
			"Limits/FileSize":                noRlimits,
			"Limits/AllRlimits":              noRlimits,
		}},
	})
}
