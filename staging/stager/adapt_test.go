package stager_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework"
)

// TestAdaptedTask: whoever runs a stager can have an app staged in another way than its request names, or not at all.
func TestAdaptedTask(t *testing.T) {
	other, err := buildpack.NewClassic("other", stagetest.Scripts("exit 1", "touch $1/adapted", "echo 'default_process_types: {web: go}'").Dir(t))
	require.NoError(t, err)
	s := newSite(t, func(s *site) {
		s.cfg.Adapt = func(request messaging.StagingRequest, task *staging.Task) error {
			switch string(request.Properties.Framework) {
			case `"other"`:
				task.Custom = other
			case `"sinatra"`:
				sinatra, err := framework.Find("sinatra")
				task.Custom = framework.NewBuildpack(sinatra, framework.Properties{}, framework.BuildpackOptions{Unbound: true})
				return err
			case `"none"`:
				return errors.New("nobody knows the framework")
			}
			return nil
		}
	})
	s.buildpack("usual", stagetest.Scripts("echo Usual", "touch $1/usual", "echo 'default_process_types: {web: run}'"))
	request := s.request("usual")
	assert.Equal(t, "Usual", s.stage(request).DetectedBuildpack)

	request.Properties.Framework = json.RawMessage(`"other"`)
	assert.Equal(t, "go", s.stage(request).DetectedStartCommand)
	assert.Contains(t, stagetest.ReadTgz(t, s.cloud.posted("/droplet").data), "./app/adapted")

	request.Properties.Framework = json.RawMessage(`"sinatra"`)
	_, failed := s.ask(request).both()
	assert.Equal(t, "Script exited with status 1", failed.Error)
	assert.Equal(t, &messaging.StagingError{
		Type: messaging.CompileFailed, Message: "Unable to determine Sinatra startup command",
	}, failed.ErrorInfo, "in the words of the plugin")

	request.Properties.Framework = json.RawMessage(`"none"`)
	setup, result := s.ask(request).both()
	assert.Contains(t, setup.Error, "nobody knows the framework")
	assert.Equal(t, setup.Error, result.Error)
}
