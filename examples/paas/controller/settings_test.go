package controller

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPushKeepsWhatItLeavesOut(t *testing.T) {
	before := Settings{
		Name: "app", Instances: 3, MemoryMB: 64, DiskMB: 100, Env: []string{"A=1", "B=2"}, Routes: []string{"a.example.com"},
		Command: "run", Buildpack: "mine_1",
	}
	assert.Equal(t, Settings{Name: "app", Instances: 1, MemoryMB: 128, DiskMB: 512}, Settings{Name: "app"}.over(Settings{}), "a new app")
	assert.Equal(t, before, Settings{Name: "app"}.over(before))
	assert.Equal(t, before, before.over(Settings{}))

	changed := Settings{
		Name: "app", Instances: 1, MemoryMB: 32, Env: []string{"B=3", "C=x=y", "A", "D"}, Routes: []string{"b.example.com"}, Command: "go",
	}.over(before)
	assert.Equal(t, Settings{
		Name: "app", Instances: 1, MemoryMB: 32, DiskMB: 100, Env: []string{"B=3", "C=x=y"}, Routes: []string{"b.example.com"},
		Command: "go", Buildpack: "mine_1",
	}, changed)
	assert.Equal(t, []string{"A=1", "B=2"}, before.Env, "it is not written into")

	reset := Settings{Name: "app", Routes: []string{Default}, Command: Default, Buildpack: Default}.over(before)
	assert.Empty(t, reset.Routes)
	assert.Empty(t, reset.Command)
	assert.Empty(t, reset.Buildpack)
}

func TestSettingsAreChecked(t *testing.T) {
	good := Settings{Name: "app"}.over(Settings{})
	assert.NoError(t, good.check())
	for name, edit := range map[string]func(*Settings){
		"no name":   func(s *Settings) { s.Name = "" },
		"long name": func(s *Settings) { s.Name = strings.Repeat("a", 64) },
		"dot":       func(s *Settings) { s.Name = "a.b" },
		"many":      func(s *Settings) { s.Instances = 101 },
		"negative":  func(s *Settings) { s.Instances = -1 },
		"memory":    func(s *Settings) { s.MemoryMB = 7 },
		"disk":      func(s *Settings) { s.DiskMB = 1 << 40 },
		"variable":  func(s *Settings) { s.Env = []string{"=x"} },
	} {
		bad := good
		edit(&bad)
		assert.ErrorIs(t, bad.check(), ErrSettings, name)
	}
}
