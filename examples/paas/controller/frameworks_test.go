package controller

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
)

func TestFrameworksAreChecked(t *testing.T) {
	for name, test := range map[string]struct {
		edit  func(*Settings)
		wrong string // empty: all is well
	}{
		"framework":                    {func(s *Settings) { s.Framework = "sinatra" }, ""},
		"with runtime":                 {func(s *Settings) { s.Framework, s.Runtime = "sinatra", "ruby193" }, ""},
		"standalone":                   {func(s *Settings) { s.Framework, s.Runtime, s.Command = "standalone", "java", "java X" }, ""},
		"buildpack":                    {func(s *Settings) { s.Framework, s.Buildpack, s.Command = "buildpack", "mine_1", "run" }, ""},
		"unknown":                      {func(s *Settings) { s.Framework = "cobol" }, `unknown framework: "cobol"; there are [buildpack django `},
		"a path":                       {func(s *Settings) { s.Framework = "../x" }, "is no name"},
		"runtime alone":                {func(s *Settings) { s.Runtime = "ruby19" }, "a framework stages only"},
		"framework and buildpack":      {func(s *Settings) { s.Framework, s.Buildpack = "node", "mine_1" }, "cannot both stage"},
		"standalone without command":   {func(s *Settings) { s.Framework, s.Runtime = "standalone", "java" }, "needs a command and a runtime"},
		"standalone without a runtime": {func(s *Settings) { s.Framework, s.Command = "standalone", "java X" }, "needs a command and a runtime"},
		"command of a plugin":          {func(s *Settings) { s.Framework, s.Command = "php", "php x" }, "finds the command of the app by itself"},
	} {
		s := Settings{Name: "app"}.over(Settings{})
		test.edit(&s)
		err := s.check()
		if test.wrong == "" {
			assert.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, ErrSettings, name)
		assert.ErrorContains(t, err, test.wrong, name)
	}
	before := Settings{Name: "app", Framework: "node", Runtime: "node08"}
	assert.Equal(t, "node08", Settings{}.over(before).Runtime)
	after := Settings{Framework: Default, Runtime: Default}.over(before)
	assert.Empty(t, after.Framework+after.Runtime)
}

// What stagers and DEAs are told of an app that a framework stages.
func TestFrameworksAreTold(t *testing.T) {
	for name, test := range map[string]struct {
		settings                   Settings
		framework, runtime, starts string
	}{
		"none":       {Settings{Command: "run"}, "", "", "run"},
		"first one":  {Settings{Framework: "node"}, `"node"`, `"node"`, ""},
		"chosen":     {Settings{Framework: "sinatra", Runtime: "ruby193"}, `"sinatra"`, `"ruby193"`, ""},
		"standalone": {Settings{Framework: "standalone", Runtime: "java", Command: "java X"}, `"standalone"`, `"java"`, ""},
		"buildpack":  {Settings{Framework: "buildpack", Command: "run"}, `"buildpack"`, "", "run"},
	} {
		var p messaging.StagingProperties
		test.settings.MemoryMB = 64
		test.settings.describe(&p)
		assert.Equal(t, test.framework, string(p.Framework), name)
		assert.Equal(t, test.runtime, string(p.Runtime), name)
		assert.Equal(t, test.framework != "", p.Resources != nil, name)
		assert.Equal(t, test.runtime, string(test.settings.wantedRuntime()), name)
		assert.Equal(t, test.starts, test.settings.startCommand(), name)
	}
}
