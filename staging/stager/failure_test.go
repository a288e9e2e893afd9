package stager_test

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
)

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

// TestLostAnswers: a droplet that has arrived is not told lost because nobody heard of it.
func TestLostAnswers(t *testing.T) {
	abort := func() { panic(http.ErrAbortHandler) }
	t.Run("to the upload", func(t *testing.T) {
		s := newSite(t)
		var uploads atomic.Int32
		s.cloud.handle("/droplet", func(w http.ResponseWriter, r *http.Request) {
			s.cloud.receive(w, r)
			if uploads.Add(1) == 1 {
				abort()
			}
		})
		result := s.stage(s.request())
		assert.EqualValues(t, 2, uploads.Load())
		sum := sha1.Sum(s.cloud.posted("/droplet").data)
		assert.Equal(t, result.DropletSHA1, hex.EncodeToString(sum[:]), "the second time all of it came again")
	})
	t.Run("to polls", func(t *testing.T) {
		s := newSite(t)
		s.cloud.handle("/droplet", func(w http.ResponseWriter, r *http.Request) {
			s.cloud.receive(w, r)
			fmt.Fprintf(w, `{"metadata":{"url":%q},"entity":{"status":"queued"}}`, s.cloud.url("/jobs/j"))
		})
		var polls atomic.Int32
		s.cloud.handle("/jobs/j", func(w http.ResponseWriter, _ *http.Request) {
			switch n := polls.Add(1); {
			case n == 1:
				abort()
			case n == 2:
				w.WriteHeader(http.StatusBadGateway)
			case n == 3:
				_, _ = io.WriteString(w, `{"entity":{"status":"running"}}`)
			case n < 13:
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				_, _ = io.WriteString(w, `{"entity":{"status":"finished"}}`)
			}
		})
		s.stage(s.request())
		assert.EqualValues(t, 13, polls.Load())
	})
	t.Run("to all polls", func(t *testing.T) {
		s := newSite(t)
		s.cloud.handle("/droplet", func(w http.ResponseWriter, r *http.Request) {
			s.cloud.receive(w, r)
			fmt.Fprintf(w, `{"metadata":{"url":%q},"entity":{"status":"queued"}}`, s.cloud.url("/jobs/j"))
		})
		s.cloud.handle("/jobs/j", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		_, result := s.ask(s.request()).both()
		assert.Equal(t, "Error uploading: (Polling failed - status 502)", result.Error)
		assert.Equal(t, 11, s.cloud.got("/jobs/j"))
	})
}

// TestFilesOfATask: package, caches and droplet together are bounded.
func TestFilesOfATask(t *testing.T) {
	noise := func(megabytes int) []byte {
		data := make([]byte, megabytes<<20)
		_, _ = rand.Read(data)
		return data
	}
	const text = "the task has more than 4 MB of files: app package, caches and droplet together"
	s := newSite(t, func(s *site) { s.cfg.WorkspaceMB = 4 })
	t.Run("package", func(t *testing.T) {
		s.cloud.serve("/package", stagetest.Files{"noise": string(noise(5))}.Zip(t))
		setup, result := s.ask(s.request()).both()
		assert.Equal(t, "Error downloading: Response status: unknown, Error: "+text, setup.Error)
		assert.Equal(t, setup.Error, result.Error)
	})
	t.Run("droplet", func(t *testing.T) {
		s.cloud.serve("/package", stagetest.Files{"noise": string(noise(3))}.Zip(t))
		setup, result := s.ask(s.request()).both()
		assert.Empty(t, setup.Error)
		assert.Contains(t, result.Error, text)
		assert.Empty(t, result.DropletSHA1)
	})
	t.Run("a cache that does not fit is left out", func(t *testing.T) {
		s.cloud.serve("/package", stagetest.Files{"noise": string(noise(1))}.Zip(t))
		s.cloud.serve("/old_cache", stagetest.Files{"noise": string(noise(5))}.Tgz(t))
		request := s.request()
		request.BuildpackCacheDownloadURI = s.cloud.url("/old_cache")
		s.stage(request)
		log := stagetest.ReadTgz(t, s.cloud.posted("/droplet").data)["./logs/staging_task.log"]
		assert.NotContains(t, log, "buildpack cache")
	})
	t.Run("a cache that came first makes room for the package", func(t *testing.T) {
		cache := stagetest.Files{"noise": string(noise(3))}.Tgz(t)
		s.cloud.serve("/old_cache", cache)
		app := stagetest.Files{"noise": string(noise(1))}.Zip(t)
		var asked atomic.Int32
		s.cloud.handle("/package", func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 {
				assert.Eventually(t, func() bool {
					found, _ := filepath.Glob(filepath.Join(s.cfg.BaseDir, "staging/*/work/old_cache.tgz"))
					if len(found) == 0 {
						return false
					}
					info, err := os.Stat(found[0])
					return err == nil && info.Size() == int64(len(cache))
				}, patience, time.Millisecond, "the cache is there")
			}
			_, _ = w.Write(app)
		})
		request := s.request()
		request.BuildpackCacheDownloadURI = s.cloud.url("/old_cache")
		request.BuildpackCacheUploadURI = ""
		s.stage(request)
		log := stagetest.ReadTgz(t, s.cloud.posted("/droplet").data)["./logs/staging_task.log"]
		assert.NotContains(t, log, "buildpack cache")
		assert.EqualValues(t, 2, asked.Load())
	})
}

// TestCacheThatCannotBePacked: where caches are optional the task succeeds without, and the one of before stays.
func TestCacheThatCannotBePacked(t *testing.T) {
	for _, optional := range []bool{false, true} {
		s := newSite(t, func(s *site) { s.cfg.CacheOptional = optional })
		s.buildpack("deep", stagetest.Scripts("exit 0", `cd "$2"; for i in $(seq 300); do mkdir d && cd d; done`, ""))
		setup, result := s.ask(s.request("deep")).both()
		assert.Empty(t, setup.Error)
		assert.Equal(t, optional, result.Error == "", result.Error)
		assert.Empty(t, s.cloud.posted("/cache").data)
		assert.Equal(t, optional, s.cloud.posted("/droplet").data != nil)
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
		{"not one that is leaving", func(s *site) { s.parts.Leaving = func() bool { return true } }, "", false, 0},
		{"not one without room", func(s *site) {
			s.parts.Ledger = resources.NewLedger(resources.Capacity{MemoryBytes: 2048 << 20, DiskBytes: 65536 << 20})
		}, `{"index":0,"droplet":"app-1","name":"web","version":"v1","uris":[],"limits":{"mem":4096,"disk":1024,"fds":64}}`, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, test.configure)
			request := s.request()
			if test.message != "" {
				request.StartMessage = json.RawMessage(test.message)
			}
			request.MemoryLimit = 256 // that of the task
			result := s.stage(request)
			assert.Equal(t, test.sha1, result.DropletSHA1 != "")
			assert.Len(t, s.starts, test.starts)
			if test.starts > 0 {
				assert.Equal(t, resources.Amount{MemoryBytes: 256 << 20, DiskBytes: 1024 << 20}, <-s.rooms)
			}
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
