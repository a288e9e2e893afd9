package dea_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
)

// childVariable makes the test binary a DEA of its own process: it holds the URL of NATS and the base directory.
const childVariable = "TEST_DEA"

// child is a DEA in a process of its own, until it is killed.
func child() {
	setting := os.Getenv(childVariable)
	if setting == "" {
		return
	}
	var where struct{ NATS, Dir string }
	if err := json.Unmarshal([]byte(setting), &where); err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, parts := newParts(panicking{}, where.NATS, where.Dir)
	d, err := dea.New(cfg, parts)
	if err != nil {
		panic(err)
	}
	if err := d.Run(ctx); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// panicking is a testing.TB outside of a test.
type panicking struct{ testing.TB }

func (panicking) Helper()                           {}
func (panicking) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (panicking) FailNow()                          { panic("failed") }

// runChild starts a DEA in a process of its own, and returns its id and what kills it.
func (w *world) runChild() (id string, kill func()) {
	w.t.Helper()
	self, err := os.Executable()
	require.NoError(w.t, err)
	setting, err := json.Marshal(map[string]string{"NATS": w.nats.URL(), "Dir": w.baseDir})
	require.NoError(w.t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+string(setting))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	require.NoError(w.t, cmd.Start())
	kill = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	w.t.Cleanup(func() {
		kill()
		if w.dea == nil { // the test ended early: nobody has taken up the apps
			b, err := process.New(process.Options{Depot: filepath.Join(w.baseDir, "depot"), Fresh: true})
			if assert.NoError(w.t, err) {
				assert.NoError(w.t, b.Close(context.Background()))
			}
		}
	})
	return w.await("dea.heartbeat", nil)["dea"].(string), kill
}

func (w *world) snapshot() map[float64]object {
	w.t.Helper()
	var s struct{ Instances []object }
	data, err := os.ReadFile(filepath.Join(w.baseDir, "db/instances.json"))
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(data, &s), "the file is whole at every moment")
	records := map[float64]object{}
	for _, r := range s.Instances {
		records[r["instance_index"].(float64)] = r
	}
	return records
}

// A DEA that was killed is started again. What ran goes on under the same names; what ended meanwhile is told with its
// status; a start that was under way has failed; an old crash is not told again.
func TestKilledAndStartedAgain(t *testing.T) {
	const lives, ends, starts, crashed = 0, 1, 2, 3
	w := newSurroundings(t)
	first, kill := w.runChild()
	routes := map[float64]object{}
	for _, index := range []float64{lives, ends, crashed} {
		w.publish("dea."+first+".start", w.startMessage(testapp.Serves, func(m object) { m["index"] = index }))
		routes[index] = w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	}
	w.publish("dea."+first+".start", w.startMessage(testapp.NeverListens, func(m object) { m["index"] = starts }))
	exit(t, routes[crashed])
	w.await("droplet.exited", nil)
	require.Eventually(t, func() bool {
		all := w.snapshot()
		// The container of the crash is away: one that is left then is for the DEA to find, which it does every minute.
		return len(all) == 4 && all[crashed]["state"] == "CRASHED" && all[crashed]["warden_handle"] == nil && all[starts]["warden_job_id"] != nil
	}, patience, 5*time.Millisecond)
	before := w.snapshot()
	kill()

	page, err := http.Get(fmt.Sprintf("http://%s:%.0f/", routes[lives]["host"], routes[lives]["port"]))
	require.NoError(t, err, "it serves although no DEA is there")
	page.Body.Close()
	exit(t, routes[ends])
	for len(w.heard) > 0 {
		<-w.heard
	}

	exits := make(chan *nats.Msg, 100)
	_, err = w.peer.ChanSubscribe("droplet.exited", exits)
	require.NoError(t, err)
	require.NoError(t, w.peer.Flush())
	w.run(nil)
	assert.NotEqual(t, first, w.dea.ID())
	told := map[float64]object{}
	for len(told) < 2 {
		var m object
		select {
		case msg := <-exits:
			require.NoError(t, json.Unmarshal(msg.Data, &m))
		case <-time.After(patience):
			t.Fatal("ends were not told")
		}
		require.NotContains(t, told, m["index"], "each end is told once")
		told[m["index"].(float64)] = m
	}
	assert.Equal(t, 3.0, told[ends]["exit_status"])
	assert.Equal(t, "app instance exited", told[ends]["exit_description"])
	assert.Equal(t, before[ends]["instance_id"], told[ends]["instance"])
	assert.Equal(t, -1.0, told[starts]["exit_status"])
	assert.Equal(t, "failed to start", told[starts]["exit_description"])

	w.publish("router.start", "")
	route := w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	for _, key := range []string{"host", "port", "uris", "private_instance_id"} {
		assert.Equal(t, routes[lives][key], route[key])
	}
	found := w.find(object{"droplet": "app-guid", "include_stats": true, "path": "/logs/stdout.log"})
	require.Len(t, found, 4)
	resumed := found[0]
	assert.Equal(t, "RUNNING", resumed["state"])
	assert.Equal(t, before[lives]["instance_id"], resumed["instance"])
	assert.Equal(t, resumed["stats"].(object)["port"], route["port"])

	answer := httptest.NewRecorder()
	directory.FileAPI(directory.NewLocal(w.parts.Signer, w.dea), nil).ServeHTTP(answer,
		httptest.NewRequest(http.MethodGet, resumed["file_uri_v2"].(string), nil))
	require.Equal(t, http.StatusOK, answer.Code, "its files are reached by URL")
	var place object
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &place))
	data, err := os.ReadFile(place["instance_path"].(string))
	require.NoError(t, err)
	assert.Equal(t, "app in mode serves\n", string(data))

	require.Eventually(t, func() bool { return w.snapshot()[starts]["state"] == "CRASHED" }, patience, 5*time.Millisecond)
	after := w.snapshot()[lives]
	for _, key := range []string{
		"warden_handle", "warden_job_id", "warden_container_path", "warden_host_ip", "warden_container_ip", "instance_host_port",
		"instance_container_port", "environment", "limits", "state_starting_timestamp", "private_instance_id",
	} {
		require.NotNil(t, before[lives][key], key)
		assert.Equal(t, before[lives][key], after[key], key)
	}
	w.publish("dea.stop", object{"droplet": "app-guid", "indices": []int{lives}})
	w.await("router.unregister", func(m object) bool { return m["app"] == "app-guid" })
	require.Eventually(t, func() bool { return len(w.find(object{"droplet": "app-guid", "indices": []int{lives}})) == 0 }, patience, 5*time.Millisecond)
	_, err = http.Get(fmt.Sprintf("http://%s:%.0f/", routes[lives]["host"], routes[lives]["port"]))
	assert.Error(t, err)
	w.quiet()
	assert.Empty(t, exits, "no more than those two")
}

// exit ends the app behind a route.
func exit(t *testing.T, route object) {
	t.Helper()
	_, err := http.Get(fmt.Sprintf("http://%s:%.0f/exit", route["host"], route["port"]))
	require.Error(t, err, "it ends without an answer")
}
