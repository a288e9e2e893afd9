package staging_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
)

func TestStepsAreToldWhenTheyBegin(t *testing.T) {
	failing := stagetest.Scripts("echo Hello", "exit 1", "")
	for _, tc := range []struct {
		pack stagetest.Files
		want []string
	}{
		{hello, []string{"prepare", "detect", "compile", "release", "pack"}},
		{failing, []string{"prepare", "detect", "compile"}},
	} {
		s := newStage(t, app, classic(t, "k1", tc.pack))
		c := stagetest.Container(t, container.Spec{BindMounts: s.task.Mounts()})
		s.task.Droplet = &s.droplet
		var began []string
		_, _ = staging.Stage(t.Context(), s.task, staging.Parts{ // other tests look at the error
			Container: c, Began: func(step string) { began = append(began, step) },
		})
		assert.Equal(t, tc.want, began)
	}
}

func TestFormatOfTheDroplet(t *testing.T) {
	s := newStage(t, app, classic(t, "k1", hello))
	s.task.Format = droplet.Zstd
	result := s.ok(t)
	summary, err := droplet.Verify(t.Context(), bytes.NewReader(s.droplet.Bytes()), droplet.VerifyOptions{})
	require.NoError(t, err)
	assert.Equal(t, droplet.Zstd, summary.Format)
	assert.Equal(t, result.Droplet, summary.Digest)
	assert.Equal(t, "run hello", summary.Info.StartCommand)
	cache, ok := droplet.Sniff(s.cache.Bytes())
	assert.True(t, ok)
	assert.Equal(t, droplet.Gzip, cache)
}
