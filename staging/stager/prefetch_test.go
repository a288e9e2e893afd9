package stager_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
)

func (s *site) has(key string) bool {
	_, err := os.Stat(filepath.Join(s.cfg.BaseDir, "admin_buildpacks", key))
	return err == nil
}

// TestBuildpacksAheadOfTime: those that the Cloud Controller tells of are there before anybody needs them.
func TestBuildpacksAheadOfTime(t *testing.T) {
	hang := make(chan struct{})
	s := newSite(t, func(s *site) {
		s.cfg.CallbackURL = s.cloud.url("")
		s.cloud.serve("/buildpacks/early", hello.Zip(t))
		list, err := json.Marshal(messaging.BuildpackList{
			{Key: "../out", URL: s.cloud.url("/buildpacks/early")}, {Key: "none", URL: s.cloud.url("/buildpacks/none")},
			{Key: "bad", URL: "no URL"}, {Key: "early", URL: s.cloud.url("/buildpacks/early")},
		})
		require.NoError(t, err)
		s.cloud.serve("/internal/buildpacks", list)
	})
	soon(t, "the list of the start", func() bool { return s.has("early") })
	assert.Equal(t, 3, s.cloud.got("/buildpacks/none"), "it is tried again")
	assert.Equal(t, 1, s.cloud.got("/internal/buildpacks"))

	// A list on NATS, and a task meanwhile that needs what is being fetched: one download serves both.
	begun := make(chan struct{}, 10)
	s.cloud.handle("/buildpacks/later", func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		_, _ = w.Write(hello.Zip(t))
	})
	require.NoError(t, s.conn.Publish("buildpacks", []byte(`{"no":"array"}`)))
	require.NoError(t, messaging.Buildpacks.Publish(s.conn, messaging.BuildpackList{{Key: "later", URL: s.cloud.url("/buildpacks/later")}}))
	require.NoError(t, s.conn.Flush())
	<-begun
	a := s.ask(s.request("later"))
	close(hang)
	setup, result := a.both()
	assert.Empty(t, setup.Error)
	assert.Equal(t, "later", result.BuildpackKey)
	assert.Empty(t, begun)
	assert.NotContains(t, s.log.String(), "secret")
	assert.NoFileExists(t, filepath.Join(s.cfg.BaseDir, "out"))
}

// TestStopWhileFetchingAhead: the stager does not wait for what it fetches.
func TestStopWhileFetchingAhead(t *testing.T) {
	begun := make(chan struct{})
	s := newSite(t)
	s.cloud.handle("/buildpacks/slow", func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})
	require.NoError(t, messaging.Buildpacks.Publish(s.conn, messaging.BuildpackList{
		{Key: "slow", URL: s.cloud.url("/buildpacks/slow")}, {Key: "next", URL: s.cloud.url("/buildpacks/ok")},
	}))
	<-begun
	s.stop()
	assert.False(t, s.has("next"))
}

// TestCustomArchive: a user's buildpack may be an archive as well.
func TestCustomArchive(t *testing.T) {
	s := newSite(t)
	s.cloud.serve("/my-bp.tgz", stagetest.Files{
		"my-bp-1/bin/compile": "#!/bin/sh\necho from an archive\n", "my-bp-1/bin/detect": "#!/bin/sh\nexit 1\n",
	}.Tgz(t))
	request := s.request()
	request.Properties.Buildpack = s.cloud.url("/my-bp.tgz")
	s.stage(request)
	members := stagetest.ReadTgz(t, s.cloud.posted("/droplet").data)
	assert.Contains(t, members["./logs/staging_task.log"], "-----> Downloading buildpack "+s.cloud.URL+"/my-bp.tgz\nfrom an archive\n")
	assert.Contains(t, members["./staging_info.yml"], "buildpack_path: "+s.cloud.URL+"/my-bp.tgz\n")
}
