package stager_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/deakit/deakit/internal/stagetest"
)

// TestAdminBuildpackThatSupplies shows that an admin buildpack is of the kind that its files tell.
func TestAdminBuildpackThatSupplies(t *testing.T) {
	s := newSite(t)
	s.buildpack("no", stagetest.Scripts("exit 1", "exit 1", ""))
	s.buildpack("supplies", stagetest.Files{
		"bin/detect":   "#!/bin/sh\necho Detected\n",
		"bin/supply":   "#!/bin/sh\nmkdir $3/$4/lib\n",
		"bin/finalize": "#!/bin/sh\necho 'export X=y' >$5/x.sh; echo 'processes: [{type: web, command: start}]' >$3/$4/launch.yml\n",
	})
	result := s.stage(s.request("no", "supplies"))
	assert.Equal(t, "supplies", result.BuildpackKey)
	assert.Equal(t, "Detected", result.DetectedBuildpack)
	assert.Equal(t, "start", result.DetectedStartCommand)
	members := stagetest.ReadTgz(t, s.cloud.posted("/droplet").data)
	assert.Contains(t, members, "./deps/0/lib/")
	assert.Equal(t, "export X=y\n", members["./profile.d/x.sh"])
}
