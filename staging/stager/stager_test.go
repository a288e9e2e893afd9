package stager_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/stager"
)

func TestStaging(t *testing.T) {
	s := newSite(t)
	a := s.ask(s.request())
	setup, keys := a.next()
	assert.Equal(t, messaging.Text("task-1"), setup.TaskID)
	assert.Equal(t, json.RawMessage("null"), keys["error"], "null is there")

	result, keys := a.next()
	require.Empty(t, result.Error, s.log.String())
	assert.NotContains(t, keys, "error")
	assert.NotContains(t, keys, "error_info")
	upload := s.cloud.posted("/droplet")
	sum := sha1.Sum(upload.data)
	assert.Equal(t, messaging.StagingAnswer{
		TaskID: "task-1", AppID: "app-1", DetectedBuildpack: "Hello", BuildpackKey: "ok", DropletSHA1: hex.EncodeToString(sum[:]),
		DetectedStartCommand: "run hello", Procfile: map[string]messaging.Text{"web": "run hello"},
	}, result)
	a.noMore()

	assert.Equal(t, "async=true&x=y", upload.query)
	for path, name := range map[string]string{"/droplet": "droplet.tgz", "/cache": "buildpack_cache.tgz"} {
		p := s.cloud.posted(path)
		assert.Equal(t, "upload[droplet]", p.field)
		assert.Equal(t, name, p.fileName)
		assert.Greater(t, p.length, int64(len(p.data)), "an exact Content-Length")
	}
	members := stagetest.ReadTgz(t, upload.data)
	assert.Equal(t, "hello", members["./app/hello.txt"])
	assert.Regexp(t, `^-----> Downloaded app package \([0-9.]+K\)\ncompiling\n$`, members["./logs/staging_task.log"])

	start := <-s.starts
	assert.Equal(t, result.DropletSHA1, start.SHA1)
	assert.Equal(t, "web", start.Name)
	assert.Equal(t, []string{"web.example.com"}, start.URIs)
	ref, err := s.parts.Droplets.Fetch(t.Context(), start.SHA1, nil)
	require.NoError(t, err, "the droplet is in the store")
	ref.Release()
	assert.NotContains(t, s.log.String(), "secret")
}

// TestLogCanBeFollowed: with the URL of answer 1, during the task and a while after it.
func TestLogCanBeFollowed(t *testing.T) {
	signer, err := directory.NewSigner(directory.SignerConfig{})
	require.NoError(t, err)
	g := newGate(t)
	var files *httptest.Server
	s := newSite(t, func(s *site) {
		s.cfg.LogLinger = patience
		s.cfg.LogURL = func(id, path string) string { return signer.StagingURL(files.URL, id, &path) }
	})
	server, err := directory.NewServer(directory.Config{Resolver: directory.NewLocal(signer, lookup{s.stager})})
	require.NoError(t, err)
	files = httptest.NewServer(server)
	defer files.Close()
	defer server.Close()
	s.buildpack("slow", stagetest.Scripts("exit 0", "echo line one; "+g.script()+"; echo line two", ""))

	a := s.ask(s.request("slow"))
	setup, _ := a.next()
	get := func(more string) (int, string) {
		resp, err := http.Get(setup.StreamingLogURL + more)
		require.NoError(t, err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(data)
	}
	status, _ := get("")
	assert.Equal(t, 200, status, "right after answer 1")

	tail, err := http.Get(setup.StreamingLogURL + "&tail&tail_offset=0")
	require.NoError(t, err)
	defer tail.Body.Close()
	followed := make(chan string)
	go func() {
		data, _ := io.ReadAll(tail.Body)
		followed <- string(data)
	}()
	soon(t, "compile", g.begun)
	g.open(t)
	result, _ := a.next()
	require.Empty(t, result.Error)
	status, text := get("")
	assert.Equal(t, 200, status, "after the last answer")
	assert.Regexp(t, `^-----> Downloaded app package \([0-9.]+K\)\nline one\nline two\n-----> Uploading droplet \([0-9.]+K\)\n$`, text)
	s.stop()
	assert.Equal(t, text, <-followed)
	_, err = s.stager.StagingTask(t.Context(), "task-1")
	assert.ErrorIs(t, err, directory.ErrUnknown)
}

// TestRelativeBaseDirectory: what the stager shows is opened by others, who work in another directory.
func TestRelativeBaseDirectory(t *testing.T) {
	s := newSite(t, func(s *site) {
		t.Chdir(s.cfg.BaseDir)
		s.cfg.BaseDir, s.cfg.LogLinger = ".", patience
	})
	s.buildpack("bp", stagetest.Scripts("exit 0", "echo compiling", ""))
	a := s.ask(s.request("bp"))
	a.next()
	result, _ := a.next()
	require.Empty(t, result.Error)
	tree, err := s.stager.StagingTask(t.Context(), "task-1")
	require.NoError(t, err)
	assert.True(t, filepath.IsAbs(tree.Dir), tree.Dir)
}

type lookup struct{ *stager.Stager }

func (lookup) Instance(context.Context, string) (directory.Tree, error) {
	return directory.Tree{}, directory.ErrUnknown
}

func TestAdvertise(t *testing.T) {
	g := newGate(t)
	s := newSite(t, func(s *site) {
		s.cfg.Stacks = []stager.Stack{{Name: "cflinuxfs2"}, {Name: "lucid64"}}
		s.cfg.AdvertiseInterval = time.Hour
	})
	s.buildpack("slow", stagetest.Scripts("exit 0", g.script(), ""))
	heard := make(chan *nats.Msg, 10)
	_, err := s.conn.ChanSubscribe(string(messaging.StagingAdvertise), heard)
	require.NoError(t, err)
	locate := func(payload string) map[string]any {
		require.NoError(t, s.conn.Publish(string(messaging.StagingLocate), []byte(payload)))
		var ad map[string]any
		require.NoError(t, json.Unmarshal((<-heard).Data, &ad))
		return ad
	}
	want := map[string]any{"id": "0-stager", "stacks": []any{"cflinuxfs2", "lucid64"}, "available_memory": 8192.0, "available_disk": 65536.0}
	assert.Equal(t, want, locate(""))
	assert.Equal(t, want, locate(`{"any":"thing"}`))

	a := s.ask(s.request("slow"))
	a.next()
	ad := locate("{}")
	assert.Equal(t, 8192.0-1024, ad["available_memory"], "the least of a task, more than the app's 256")
	assert.Equal(t, 65536.0-2048, ad["available_disk"])
	g.open(t)
	a.next()
	a.noMore()
	assert.Equal(t, want, locate("{}"))

	request := s.request("slow")
	request.MemoryLimit, request.DiskLimit = 3000, 5000
	a = s.ask(request)
	a.next()
	a.next()
	a.noMore()
}

func TestNoAdvertise(t *testing.T) {
	s := newSite(t, func(s *site) { s.cfg.NoAdvertise = true })
	heard := make(chan *nats.Msg, 10)
	_, err := s.conn.ChanSubscribe(string(messaging.StagingAdvertise), heard)
	require.NoError(t, err)
	require.NoError(t, messaging.StagingLocate.Publish(s.conn, messaging.Signal{}))
	soon(t, "a stager that stages", func() bool { // which is subscribed a moment after it was started
		a := s.ask(s.request())
		_, err := a.sub.NextMsg(100 * time.Millisecond)
		return err == nil
	})
	s.idle()
	assert.Empty(t, heard)
}

func TestCache(t *testing.T) {
	s := newSite(t)
	s.buildpack("cache", stagetest.Scripts("exit 0", `ls "$2"; rm -f "$2/old"; test -e "$2/new" || touch "$2/old"; touch "$2/new"`, ""))
	request := s.request("cache")
	request.BuildpackCacheDownloadURI = s.cloud.url("/old_cache")
	s.stage(request) // 404 is passed over
	first := s.cloud.posted("/cache").data
	assert.Equal(t, map[string]string{"./": "", "./old": "", "./new": ""}, stagetest.ReadTgz(t, first))

	s.cloud.serve("/old_cache", first)
	s.stage(request)
	log := stagetest.ReadTgz(t, s.cloud.posted("/droplet").data)["./logs/staging_task.log"]
	assert.Regexp(t, `^-----> Downloaded app package \(4\.0K\)\n-----> Downloaded app buildpack cache \(4\.0K\)\nnew\nold\n$`, log)
	assert.Equal(t, map[string]string{"./": "", "./new": ""}, stagetest.ReadTgz(t, s.cloud.posted("/cache").data))
}

func TestBuildpacks(t *testing.T) {
	s := newSite(t)
	s.buildpack("z-no", stagetest.Scripts("exit 1", "exit 1", ""))
	s.buildpack("y-yes", stagetest.Scripts("echo Yes", "exit 0", ""))
	s.buildpack("a-also", stagetest.Scripts("echo Also", "exit 0", ""))
	result := s.stage(s.request("z-no", "y-yes", "a-also"))
	assert.Equal(t, "y-yes", result.BuildpackKey)
	assert.Equal(t, "Yes", result.DetectedBuildpack)

	request := s.request("z-no", "y-yes", "a-also")
	request.Properties.BuildpackKey = "a-also"
	a := s.ask(request)
	a.next()
	result, keys := a.next()
	a.noMore()
	assert.Equal(t, "a-also", result.BuildpackKey)
	assert.Equal(t, json.RawMessage("null"), keys["detected_buildpack"])
	assert.Equal(t, 1, s.cloud.got("/buildpacks/a-also"))

	s.stage(s.request("y-yes"))
	for key, want := range map[string]bool{"y-yes": true, "z-no": false, "a-also": false} {
		_, err := os.Stat(filepath.Join(s.cfg.BaseDir, "admin_buildpacks", key))
		assert.Equal(t, want, err == nil, key)
	}
}

func TestCustomBuildpack(t *testing.T) {
	needs.Tool(t, "git", "git")
	s := newSite(t)
	dir := stagetest.Scripts("exit 1", "echo from git", "echo 'default_process_types: {web: cloned}'").Dir(t)
	for _, args := range [][]string{{"init", "-q"}, {"checkout", "-qb", "v2"}, {"add", "-A"}, {"commit", "-qm", "x"}} {
		cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	request := s.request("ok")
	request.Properties.Buildpack, request.Properties.BuildpackGitURL = "file://"+dir+"#v2", "http://127.0.0.1:1/other"
	a := s.ask(request)
	a.next()
	result, keys := a.next()
	a.noMore()
	require.Empty(t, result.Error)
	assert.Equal(t, "cloned", result.DetectedStartCommand)
	for _, key := range []string{"detected_buildpack", "buildpack_key"} {
		assert.Equal(t, json.RawMessage("null"), keys[key])
	}
	log := stagetest.ReadTgz(t, s.cloud.posted("/droplet").data)["./logs/staging_task.log"]
	assert.Contains(t, log, "-----> Cloning buildpack file://"+dir+"\nfrom git\n")
}

func TestBuildpackInUseIsKept(t *testing.T) {
	g := newGate(t)
	s := newSite(t)
	s.buildpack("slow", stagetest.Scripts("exit 0", g.script(), "echo 'default_process_types: {web: slow}'"))
	slow := s.ask(s.request("slow"))
	slow.next()
	soon(t, "compile", g.begun)
	other := s.request("ok")
	other.TaskID = "task-2"
	a := s.ask(other)
	a.next()
	result, _ := a.next()
	assert.Empty(t, result.Error)
	g.open(t)
	result, _ = slow.next()
	assert.Empty(t, result.Error)
	assert.Equal(t, "slow", result.DetectedStartCommand)
	slow.noMore()
	a.noMore()
}

func TestBuildpackIsDownloadedOnceAndTriedAgain(t *testing.T) {
	s := newSite(t)
	data := hello.Zip(t)
	calls := make(chan struct{}, 100)
	s.cloud.handle("/buildpacks/new", func(w http.ResponseWriter, _ *http.Request) {
		calls <- struct{}{}
		if len(calls) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(data)
	})
	first, second := s.request("new"), s.request("new")
	second.TaskID = "task-2"
	a, b := s.ask(first), s.ask(second)
	for _, asker := range []*asker{a, b} {
		setup, _ := asker.next()
		assert.Empty(t, setup.Error)
		result, _ := asker.next()
		assert.Empty(t, result.Error)
	}
	a.noMore()
	assert.Len(t, calls, 3)
}

func TestEnvironmentOfBuildpacks(t *testing.T) {
	s := newSite(t)
	s.buildpack("env", stagetest.Scripts("exit 0", `env -0 >"$1/env"`, ""))
	request := s.request("env")
	request.Properties.Environment = []string{"A=b 'c' \"$HOME\"\nd", "VCAP_SERVICES=mine"}
	require.NoError(t, json.Unmarshal([]byte(`[{"label":"l","name":"n","credentials":{"uri":"mysql://h/d"},"provider":"p"}]`), &request.Properties.Services))
	env := func() string {
		s.stage(request)
		return "\x00" + stagetest.ReadTgz(t, s.cloud.posted("/droplet").data)["./app/env"]
	}
	got := env()
	for _, want := range []string{
		"A=b 'c' \"$HOME\"\nd", "VCAP_SERVICES=mine", "DATABASE_URL=mysql2://h/d", "STAGING_TIMEOUT=900.0", "MEMORY_LIMIT=256m",
		`VCAP_APPLICATION={"application_name":"web","application_uris":["web.example.com"],"application_version":"v1",` +
			`"limits":{"mem":256,"disk":1024,"fds":64},"name":"web","uris":["web.example.com"],"users":null,"version":"v1"}`,
	} {
		assert.Contains(t, got, "\x00"+want+"\x00")
	}
	request.Properties.Environment, request.MemoryLimit = nil, 512
	request.StartMessage = json.RawMessage(strings.Replace(string(request.StartMessage), `"index"`, `"vcap_application":{"x":"y"},"index"`, 1))
	got = env()
	for _, want := range []string{`VCAP_SERVICES={"l":[{"name":"n","label":"l","credentials":{"uri":"mysql://h/d"}}]}`, `VCAP_APPLICATION={"x":"y"}`, "MEMORY_LIMIT=512m"} {
		assert.Contains(t, got, "\x00"+want+"\x00")
	}
}

func TestStagingInfo(t *testing.T) {
	s := newSite(t)
	request := s.request()
	request.Properties.Meta.Command = "from user"
	result := s.stage(request)
	assert.Equal(t, "from user", result.DetectedStartCommand)
	assert.Equal(t, map[string]messaging.Text{"web": "run hello"}, result.Procfile)
	info, err := droplet.ParseInfo([]byte(stagetest.ReadTgz(t, s.cloud.posted("/droplet").data)["./staging_info.yml"]))
	require.NoError(t, err)
	assert.Equal(t, droplet.StagingInfo{
		BuildpackPath: filepath.Join(s.cfg.BaseDir, "admin_buildpacks", "ok"), DetectedBuildpack: "Hello", StartCommand: "from user",
		EffectiveProcfile: map[string]string{"web": "run hello"},
		Buildpacks:        []droplet.BuildpackInfo{{Key: "ok", Name: "Hello"}},
	}, info)
}

func TestLeftoversAreRemoved(t *testing.T) {
	s := newSite(t, func(s *site) {
		require.NoError(t, os.MkdirAll(filepath.Join(s.cfg.BaseDir, "staging", "task-old", "work"), 0o755))
	})
	s.idle()
}

func TestConfig(t *testing.T) {
	_, err := stager.New(stager.Config{ID: "a.b", MemoryMB: -1, Stacks: []stager.Stack{{}}}, stager.Parts{Start: func(messaging.StartMessage, *resources.Reservation) {}})
	for _, text := range []string{"ID", "BaseDir", "MemoryMB", "Stacks[0].Name", "Parts.Conn", "Parts.Backend", "Parts.Ledger", "Parts.Buildpacks", "Parts.Droplets"} {
		assert.ErrorContains(t, err, text)
	}
}
