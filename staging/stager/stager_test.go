package stager_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
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

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name     string
		capacity resources.Capacity
		change   func(*messaging.StagingRequest)
		want     string
	}{
		{"memory", resources.Capacity{MemoryBytes: 1023 << 20, DiskBytes: 1 << 40}, nil, "Not enough memory resources available"},
		{"disk", resources.Capacity{MemoryBytes: 1 << 40, DiskBytes: 2047 << 20}, nil, "Not enough disk resources available"},
		{"disk before memory", resources.Capacity{}, nil, "Not enough disk resources available"},
		{"the app's own limit", resources.Capacity{MemoryBytes: 2048 << 20, DiskBytes: 1 << 40},
			func(r *messaging.StagingRequest) { r.MemoryLimit = 2049 }, "Not enough memory resources available"},
		{"no number", resources.Capacity{MemoryBytes: 2048 << 20, DiskBytes: 1 << 40},
			func(r *messaging.StagingRequest) { r.MemoryLimit = 1 << 62 }, "Not enough memory resources available"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, func(s *site) { s.parts.Ledger = resources.NewLedger(test.capacity) })
			request := s.request()
			if test.change != nil {
				test.change(&request)
			}
			a := s.ask(request)
			answer, _ := a.next()
			assert.Equal(t, messaging.StagingAnswer{TaskID: "task-1", AppID: "app-1", Error: test.want}, answer)
			a.noMore()
		})
	}
}

func TestDuplicateTask(t *testing.T) {
	g := newGate(t)
	s := newSite(t)
	s.buildpack("slow", stagetest.Scripts("exit 0", g.script(), ""))
	first := s.ask(s.request("slow"))
	first.next()
	second := s.ask(s.request("slow"))
	answer, _ := second.next()
	assert.Equal(t, "Error staging: a task with this id is running", answer.Error)
	g.open(t)
	result, _ := first.next()
	assert.Empty(t, result.Error)
	first.noMore()
	second.noMore()
}

func TestStop(t *testing.T) {
	for _, test := range []struct {
		name string
		stop func(*site) error
	}{
		{"staging.stop", func(s *site) error {
			return messaging.StagingStop.Publish(s.conn, messaging.StagingStopMessage{AppID: "app-1"})
		}},
		{"dea.stop of the whole app", func(s *site) error { return s.conn.Publish("dea.stop", []byte(`{"droplet":"app-1"}`)) }},
		{"shutdown", func(s *site) error { go s.stop(); return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGate(t)
			s := newSite(t)
			s.buildpack("slow", stagetest.Scripts("exit 0", "setsid sleep 1000 & "+g.script(), ""))
			a := s.ask(s.request("slow"))
			setup, _ := a.next()
			assert.Empty(t, setup.Error)
			soon(t, "compile", g.begun)
			require.NoError(t, s.conn.Publish("dea.stop", []byte(`{"droplet":"app-1","indices":[0]}`)))
			require.NoError(t, s.conn.Publish("staging.stop", []byte(`{"app_id":"another"}`)))
			require.NoError(t, s.conn.Flush())
			require.NoError(t, test.stop(s))
			answer, _ := a.next()
			assert.Equal(t, messaging.StagingAnswer{TaskID: "task-1", AppID: "app-1", Error: "Error staging: task stopped"}, answer)
			a.noMore()
			assert.Empty(t, s.cloud.posted("/droplet").data)
			assert.Empty(t, s.starts)
		})
	}
}

// TestStopAtAnyMoment: one or two answers, the last of them an error or a success, and nothing left.
func TestStopAtAnyMoment(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/buildpacks/ok", "/package", "/droplet"} {
		begun := make(chan struct{})
		s.cloud.handle(path, func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			_, _ = io.Copy(io.Discard, r.Body) // or the server would not see the client go
			<-r.Context().Done()
		})
		a := s.ask(s.request())
		<-begun
		require.NoError(t, messaging.StagingStop.Publish(s.conn, messaging.StagingStopMessage{AppID: "app-1"}))
		answer, _ := a.next()
		if path == "/droplet" {
			assert.Empty(t, answer.Error)
			answer, _ = a.next()
		}
		assert.Equal(t, "Error staging: task stopped", answer.Error, path)
		a.noMore()
		s.cloud.handle(path, nil)
	}
	for i := range 20 {
		request := s.request()
		a := s.ask(request)
		time.Sleep(time.Duration(i) * 2 * time.Millisecond) // any moment will do
		require.NoError(t, messaging.StagingStop.Publish(s.conn, messaging.StagingStopMessage{AppID: "app-1"}))
		answer, _ := a.next()
		if answer.Error == "" {
			answer, _ = a.next()
		}
		if answer.Error != "" {
			assert.Equal(t, "Error staging: task stopped", answer.Error)
		}
		a.noMore()
	}
}

// TestStopBeforeStart: a stop never hits the task whose request follows it.
func TestStopBeforeStart(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.parts.Ledger = resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 50, DiskBytes: 1 << 50})
		s.parts.Start = nil
	})
	// A stack that does not exist ends a task early: what counts is that it is not stopped.
	var askers []*asker
	for i := range 100 {
		inbox := nats.NewInbox()
		sub, err := s.conn.SubscribeSync(inbox)
		require.NoError(t, err)
		request := s.request()
		request.TaskID, request.Stack = messaging.Text(fmt.Sprint("task-", i)), "none"
		data, err := messaging.StagingStart("x").Encode(request)
		require.NoError(t, err)
		require.NoError(t, messaging.StagingStop.Publish(s.conn, messaging.StagingStopMessage{AppID: messaging.Text(fmt.Sprint("app-", i))}))
		data = []byte(strings.Replace(string(data), `"app_id":"app-1"`, fmt.Sprintf(`"app_id":"app-%d"`, i), 1))
		require.NoError(t, s.conn.PublishRequest("staging.0-stager.start", inbox, data))
		askers = append(askers, &asker{s, sub})
	}
	for i, a := range askers {
		answer, _ := a.next()
		assert.Equal(t, "Error staging: Stack none does not exist", answer.Error, i)
	}
}

func TestSetUpFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*site, *messaging.StagingRequest)
		want   string
	}{
		{"unknown stack", func(_ *site, r *messaging.StagingRequest) { r.Stack = "win" }, "Error staging: Stack win does not exist"},
		{"no package", func(s *site, r *messaging.StagingRequest) { r.DownloadURI = s.cloud.url("/none") }, "Error downloading: HTTP status: 404"},
		{"no server", func(_ *site, r *messaging.StagingRequest) { r.DownloadURI = "http://user:secret@127.0.0.1:1/x" },
			"Error downloading: Response status: unknown, Error: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"no buildpack", func(s *site, r *messaging.StagingRequest) { *r = s.request("none") }, "Error downloading: HTTP status: 404"},
		{"egress rule", func(_ *site, r *messaging.StagingRequest) {
			r.EgressNetworkRules = []messaging.EgressRule{{Protocol: "sctp"}}
		}, "Invalid protocol in egress rule: sctp"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			request := s.request()
			test.change(s, &request)
			setup, result := s.ask(request).both()
			assert.Equal(t, messaging.Text("task-1"), result.TaskID)
			assert.Equal(t, test.want, setup.Error)
			assert.Equal(t, test.want, result.Error)
			assert.Nil(t, result.ErrorInfo)
			assert.NotContains(t, s.log.String(), "secret")
			assert.Empty(t, s.starts)
		})
	}
}

func TestStagingFails(t *testing.T) {
	const plugin = "Script exited with status 1"
	for _, test := range []struct {
		name                     string
		detect, compile, release string
		change                   func(*site, *messaging.StagingRequest)
		text                     string
		info                     *messaging.StagingError
	}{
		{"detect", "exit 1", "exit 0", "", nil, plugin,
			&messaging.StagingError{Type: "NoAppDetectedError", Message: "An application could not be detected by any available buildpack"}},
		{"compile", "exit 0", "exit 1", "", nil, plugin,
			&messaging.StagingError{Type: "BuildpackCompileFailed", Message: "Buildpack compilation step failed"}},
		{"release", "exit 0", "exit 0", "echo some; echo output; exit 1", nil, plugin,
			&messaging.StagingError{Type: "BuildpackReleaseFailed", Message: "Release info failed:\nsome\noutput\n"}},
		{"missing key", "exit 0", "exit 0", "", func(_ *site, r *messaging.StagingRequest) { r.Properties.BuildpackKey = "gone" }, plugin,
			&messaging.StagingError{Type: "BuildpackCompileFailed", Message: "Buildpack compilation step failed"}},
		{"Procfile", "exit 0", `echo '[a]' >"$1/Procfile"`, "", nil, plugin, nil},
		{"git URL", "exit 0", "exit 0", "", func(_ *site, r *messaging.StagingRequest) { r.Properties.Buildpack = "git@host.example:x" }, plugin, nil},
		{"git server", "exit 0", "exit 0", "", func(s *site, r *messaging.StagingRequest) { r.Properties.Buildpack = s.cloud.url("/none.git") }, plugin, nil},
		{"time", "exit 0", "sleep 1000 & sleep 1000", "", func(s *site, _ *messaging.StagingRequest) {}, "Staging in container timed out", nil},
		{"hostile package", "exit 0", "exit 0", "", func(s *site, _ *messaging.StagingRequest) {
			s.cloud.serve("/package", stagetest.Files{"../../evil": ""}.Zip(s.t))
		}, `Error staging: the app package was refused: archive member "../../evil" refused: path is not below the target directory (".." in the name)`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, func(s *site) {
				if test.name == "time" {
					s.cfg.MaxDuration = 300 * time.Millisecond
				}
			})
			s.buildpack("bp", stagetest.Scripts(test.detect, test.compile, test.release))
			request := s.request("bp")
			if test.change != nil {
				test.change(s, &request)
			}
			setup, result := s.ask(request).both()
			assert.Empty(t, setup.Error)
			assert.Equal(t, messaging.StagingAnswer{TaskID: "task-1", AppID: "app-1", Error: test.text, ErrorInfo: test.info}, result)
			assert.Empty(t, s.cloud.posted("/droplet").data)
			assert.Empty(t, s.starts)
			assert.NotContains(t, s.log.String(), "secret")
		})
	}
}

func TestUploadFails(t *testing.T) {
	fails := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	const text = "Error uploading: (Upload failed - status 500)"
	for _, test := range []struct {
		path     string
		optional bool
		want     string
	}{{"/droplet", false, text}, {"/cache", false, text}, {"/cache", true, ""}, {"/droplet", true, text}} {
		t.Run(fmt.Sprint(test.path, test.optional), func(t *testing.T) {
			s := newSite(t, func(s *site) { s.cfg.CacheOptional = test.optional })
			s.cloud.handle(test.path, fails)
			setup, result := s.ask(s.request()).both()
			assert.Empty(t, setup.Error)
			assert.Equal(t, test.want, result.Error)
			assert.Len(t, result.DropletSHA1, 40)
			assert.Equal(t, test.want == "", len(s.starts) == 1)
		})
	}
}

func TestAsynchronousUpload(t *testing.T) {
	for _, test := range []struct{ last, want string }{{"finished", ""}, {"failed", "Error uploading: (Staging upload failed.)"}} {
		t.Run(test.last, func(t *testing.T) {
			s := newSite(t)
			states := []string{"queued", "running", test.last}
			job := func(w http.ResponseWriter, state string) {
				fmt.Fprintf(w, `{"metadata":{"guid":"j","url":%q},"entity":{"guid":"j","status":%q}}`, s.cloud.url("/jobs/j"), state)
			}
			s.cloud.handle("/droplet", func(w http.ResponseWriter, r *http.Request) {
				s.cloud.receive(w, r)
				job(w, "queued")
			})
			s.cloud.handle("/jobs/j", func(w http.ResponseWriter, _ *http.Request) {
				job(w, states[0])
				states = states[1:]
			})
			_, result := s.ask(s.request()).both()
			assert.Equal(t, test.want, result.Error)
			assert.Empty(t, states)
			assert.Equal(t, test.want == "", len(s.starts) == 1)
		})
	}
}

func TestWhoStartsInstance0(t *testing.T) {
	withoutStart := func(s *site) { s.parts.Start = nil }
	for _, test := range []struct {
		name      string
		configure func(*site)
		message   string
		sha1      bool
		starts    int
	}{
		{"the stager", func(*site) {}, "", true, 1},
		{"the Cloud Controller", withoutStart, "", false, 0},
		{"nobody", func(*site) {}, "null", true, 0},
		{"nobody, and no one could", withoutStart, "{}", true, 0},
		{"a message that no DEA takes", func(*site) {}, `{"index":0,"droplet":"app-1"}`, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, test.configure)
			request := s.request()
			if test.message != "" {
				request.StartMessage = json.RawMessage(test.message)
			}
			result := s.stage(request)
			assert.Equal(t, test.sha1, result.DropletSHA1 != "")
			assert.Len(t, s.starts, test.starts)
		})
	}
}

func TestLooseRequests(t *testing.T) {
	s := newSite(t)
	for _, more := range []string{
		`"properties":null,"admin_buildpacks":null,"egress_network_rules":null`,
		`"properties":{},"memory_limit":"512","disk_limit":1024.0`,
		`"properties":{"environment":null,"services":null,"meta":null,"resources":{"memory":"x"}},"start_message":null,"app_id":17`,
		`"unknown":{"key":1},"stack":null`,
	} {
		// The only error is that there are no buildpacks: the request was understood.
		a := s.ask(fmt.Sprintf(`{"task_id":"t","download_uri":%q,"upload_uri":%q,%s}`, s.cloud.url("/package"), s.cloud.url("/droplet"), more))
		setup, result := a.both()
		assert.Empty(t, setup.Error, more)
		require.NotNil(t, result.ErrorInfo, more)
		assert.Equal(t, "NoAppDetectedError", result.ErrorInfo.Type)
	}
	setup, _ := s.ask(fmt.Sprintf(`{"download_uri":%q}`, s.cloud.url("/package"))).both()
	assert.Len(t, setup.TaskID, 32, "drawn, as the request had none")
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
	}, info)
}

// TestAnswersSurviveALostServer: they are sent when it is back.
func TestAnswersSurviveALostServer(t *testing.T) {
	g := newGate(t)
	s := newSite(t)
	s.buildpack("slow", stagetest.Scripts("exit 0", g.script(), ""))
	a := s.ask(s.request("slow"))
	a.next()
	soon(t, "compile", g.begun)
	s.server.Stop()
	soon(t, "disconnected", func() bool { return !s.parts.Conn.IsConnected() && !s.conn.IsConnected() })
	s.server.Start()
	soon(t, "the Cloud Controller is back", s.conn.IsConnected)
	require.NoError(t, s.conn.Flush())
	g.open(t)
	result, _ := a.next()
	assert.Empty(t, result.Error)
	a.noMore()
}

func TestLeftoversAreRemoved(t *testing.T) {
	s := newSite(t, func(s *site) {
		require.NoError(t, os.MkdirAll(filepath.Join(s.cfg.BaseDir, "staging", "task-old", "work"), 0o755))
	})
	s.idle()
}

func TestConfig(t *testing.T) {
	_, err := stager.New(stager.Config{ID: "a.b", MemoryMB: -1, Stacks: []stager.Stack{{}}}, stager.Parts{Start: func(messaging.StartMessage) {}})
	for _, text := range []string{"ID", "BaseDir", "MemoryMB", "Stacks[0].Name", "Parts.Conn", "Parts.Backend", "Parts.Ledger", "Parts.Buildpacks", "Parts.Droplets"} {
		assert.ErrorContains(t, err, text)
	}
}
