package dea_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// patience is how long to wait for what has to come, on machines that have much else to do.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	testapp.Main()
	child()
	goleak.VerifyTestMain(m)
}

// The world around a DEA: a NATS server, and one peer that hears everything and speaks JSON of its own. None of our
// types is used for what goes over the wire.
type world struct {
	t       testing.TB
	nats    *messagingtest.Server
	peer    *nats.Conn
	heard   chan *nats.Msg
	app     testapp.Droplet
	store   *httptest.Server
	served  atomic.Int32 // downloads of the droplet
	dea     *dea.DEA
	parts   dea.Parts
	cfg     dea.Config
	baseDir string
	alter   func(*dea.Parts) // before the DEA is built
	stop    func()
	ended   chan error
}

type object = map[string]any

func newWorld(t testing.TB, edit func(*dea.Config)) *world {
	t.Helper()
	w := newSurroundings(t)
	w.run(edit)
	return w
}

// newSurroundings is a world without a DEA yet.
func newSurroundings(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, app: testapp.NewDroplet(t, nil), baseDir: t.TempDir(), heard: make(chan *nats.Msg, 100000), ended: make(chan error, 1)}
	w.nats = messagingtest.NewServer(t, func(o *server.Options) { o.MaxPayload = 4 << 20 })
	w.peer = w.nats.Connect()
	_, err := w.peer.ChanSubscribe(">", w.heard)
	require.NoError(t, err)
	require.NoError(t, w.peer.Flush())
	w.store = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/droplet":
			w.served.Add(1)
			http.ServeFile(rw, r, w.app.Path)
		case "/moved":
			http.Redirect(rw, r, "/droplet", http.StatusFound)
		default:
			http.NotFound(rw, r)
		}
	}))
	t.Cleanup(w.store.Close)
	return w
}

// run brings a DEA into the world and waits until it is heard.
func (w *world) run(edit func(*dea.Config)) {
	w.t.Helper()
	t := w.t
	w.cfg, w.parts = newParts(t, w.nats.URL(), w.baseDir)
	t.Cleanup(w.parts.Conn.Close)
	if edit != nil {
		edit(&w.cfg)
	}
	if w.alter != nil {
		w.alter(&w.parts)
	}
	var err error
	w.dea, err = dea.New(w.cfg, w.parts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.ended <- w.dea.Run(ctx) }()
	t.Cleanup(w.end)
	w.await("dea.heartbeat", nil)
}

// newParts makes what a DEA needs, all below one directory.
func newParts(t testing.TB, natsURL, baseDir string) (dea.Config, dea.Parts) {
	t.Helper()
	backend, err := process.New(process.Options{Depot: filepath.Join(baseDir, "depot"), StopGrace: 2 * time.Second})
	require.NoError(t, err)
	droplets, err := droplet.NewStore(filepath.Join(baseDir, "droplets"), droplet.StoreOptions{})
	require.NoError(t, err)
	signer, err := directory.NewSigner(directory.SignerConfig{})
	require.NoError(t, err)
	// The peer comes back sooner than the DEA after an outage, and so hears all that the DEA has kept for it.
	conn, err := messaging.Connect(messaging.Config{Servers: []string{natsURL}, ReconnectWait: 500 * time.Millisecond})
	require.NoError(t, err)
	return dea.Config{
			Index: 7, BaseDir: baseDir, HostIP: "127.0.0.1", FilesHost: "0123.example.com", FilesPort: 34567,
			EvacuationInterval: 50 * time.Millisecond,
		}, dea.Parts{
			Conn: conn, Backend: backend, Droplets: droplets, Signer: signer,
			Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 30, DiskBytes: 4 << 30}),
		}
}

// end stops the DEA and looks at what it leaves.
func (w *world) end() {
	w.stop()
	select {
	case err := <-w.ended:
		assert.NoError(w.t, err)
	case <-time.After(patience):
		w.t.Fatal("the DEA does not end")
	}
	w.ended <- nil // for a second call
	assert.Equal(w.t, resources.Amount{}, w.parts.Ledger.Reserved())
	ctx := context.Background()
	if left, err := w.parts.Backend.List(ctx); err == nil {
		assert.Empty(w.t, left)
	}
	assert.NoError(w.t, w.parts.Backend.(*process.Backend).Close(ctx))
	assert.NoError(w.t, w.parts.Droplets.Close())
}

func (w *world) publish(subject string, payload any) {
	w.t.Helper()
	data, ok := payload.(string)
	if !ok {
		raw, err := json.Marshal(payload)
		require.NoError(w.t, err)
		data = string(raw)
	}
	require.NoError(w.t, w.peer.Publish(subject, []byte(data)))
	require.NoError(w.t, w.peer.FlushTimeout(patience))
}

// await returns the next message on a subject for which ok holds; nil takes any.
func (w *world) await(subject string, ok func(object) bool) object {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case msg := <-w.heard:
			var m object
			if msg.Subject != subject || json.Unmarshal(msg.Data, &m) != nil {
				continue
			}
			if ok == nil || ok(m) {
				return m
			}
		case <-deadline:
			w.t.Fatalf("no such message on %s in time", subject)
		}
	}
}

// quiet returns the messages that are there now, after everything sent so far has had its effect. The greeting of routers
// is left out: it comes at any time after the boot.
func (w *world) quiet() []*nats.Msg {
	w.t.Helper()
	// dea.status goes through the same queue: its answer, which nothing else looks like, tells that what came before was
	// dealt with.
	fence := nats.NewInbox()
	require.NoError(w.t, w.peer.PublishRequest("dea.status", fence, nil))
	var seen []*nats.Msg
	for {
		select {
		case msg := <-w.heard:
			switch {
			case msg.Subject == fence:
				return seen
			case msg.Reply != fence && msg.Subject != "router.greet":
				seen = append(seen, msg)
			}
		case <-time.After(patience):
			w.t.Fatal("the DEA does not answer")
		}
	}
}

func (w *world) startMessage(mode string, edit func(object)) object {
	m := object{
		"droplet": "app-guid", "index": 0, "name": "shop", "version": "v1", "uris": []string{"shop.example.com"}, "prod": false,
		"sha1": w.app.SHA1, "executableFile": "deprecated",
		"executableUri": strings.Replace(w.store.URL, "http://", "http://u:p@", 1) + "/droplet",
		"services":      []object{}, "limits": object{"mem": 64, "disk": 128, "fds": 256}, "cc_partition": "default",
		"env": []string{testapp.Env(mode), "EMPTY="}, "console": false, "debug": nil, "start_command": nil, "health_check_timeout": nil,
		"unknown_key": object{"x": 1},
	}
	if edit != nil {
		edit(m)
	}
	return m
}

func (w *world) start(m object) { w.publish("dea."+w.dea.ID()+".start", m) }

// running waits for the first heartbeat that shows an instance in state RUNNING and returns it.
func (w *world) running() object {
	w.t.Helper()
	var found object
	w.await("dea.heartbeat", func(m object) bool {
		for _, d := range m["droplets"].([]any) {
			if d := d.(object); d["state"] == "RUNNING" {
				found = d
				return true
			}
		}
		return false
	})
	return found
}

func (w *world) find(request object) []object {
	w.t.Helper()
	inbox := nats.NewInbox()
	sub, err := w.peer.SubscribeSync(inbox)
	require.NoError(w.t, err)
	defer func() { _ = sub.Unsubscribe() }()
	data, err := json.Marshal(request)
	require.NoError(w.t, err)
	require.NoError(w.t, w.peer.PublishRequest("dea.find.droplet", inbox, data))
	w.quiet()
	var answers []object
	for {
		msg, err := sub.NextMsg(time.Millisecond) // what has come stands in a channel
		if err != nil {
			return answers
		}
		var m object
		require.NoError(w.t, json.Unmarshal(msg.Data, &m))
		answers = append(answers, m)
	}
}

func TestLifeOfAnApp(t *testing.T) {
	w := newWorld(t, nil)
	w.publish("dea.locate", "")
	offer := w.await("dea.advertise", nil)
	assert.Equal(t, w.dea.ID(), offer["id"])
	assert.Equal(t, []any{"cflinuxfs2"}, offer["stacks"])
	assert.Equal(t, 1024.0, offer["available_memory"])
	assert.Equal(t, object{}, offer["app_id_to_count"])
	assert.Equal(t, object{"zone": "default"}, offer["placement_properties"])

	w.start(w.startMessage(testapp.Serves, nil))
	route := w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	assert.Equal(t, []any{"shop.example.com"}, route["uris"])
	assert.Equal(t, object{"component": "dea-7"}, route["tags"])
	assert.Len(t, route["private_instance_id"], 64)
	beat := w.running()
	assert.Len(t, beat["instance"], 32)
	assert.Equal(t, "v1", beat["version"])
	assert.Equal(t, "default", beat["cc_partition"])

	page, err := http.Get(fmt.Sprintf("http://%s:%.0f/", route["host"], route["port"]))
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	var app object
	require.NoError(t, json.NewDecoder(page.Body).Decode(&app))
	page.Body.Close()
	assert.Equal(t, beat["instance"], app["instance_id"])

	found := w.find(object{"droplet": "app-guid", "include_stats": true, "path": nil})
	require.Len(t, found, 1)
	assert.Equal(t, "RUNNING", found[0]["state"])
	assert.Equal(t, fmt.Sprint("/", beat["instance"]), found[0]["staged"])
	assert.True(t, strings.HasPrefix(found[0]["file_uri_v2"].(string), "http://0123.example.com/instance_paths/"+beat["instance"].(string)+"?hmac="))
	stats := found[0]["stats"].(object)
	assert.Equal(t, "shop", stats["name"])
	assert.Equal(t, float64(64<<20), stats["mem_quota"])
	assert.Equal(t, route["port"], stats["port"])

	w.publish("dea.locate", "{}")
	offer = w.await("dea.advertise", nil)
	assert.Equal(t, 1024.0-64, offer["available_memory"])
	assert.Equal(t, object{"app-guid": 1.0}, offer["app_id_to_count"])

	w.publish("dea.update", object{"droplet": "app-guid", "uris": []string{"shop.example.com", "b.example.com"}, "version": "v1"})
	added := w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	assert.Equal(t, []any{"b.example.com"}, added["uris"], "only what is new")
	w.publish("dea.update", object{"droplet": "app-guid", "uris": []string{"b.example.com"}, "version": "v2"})
	assert.Equal(t, []any{"shop.example.com"}, w.await("router.unregister", nil)["uris"])
	again := w.running()
	assert.Equal(t, "v2", again["version"])
	assert.NotEqual(t, beat["instance"], again["instance"])

	w.publish("dea.stop", object{"droplet": "app-guid", "version": "v1"}) // not this one any more
	w.publish("dea.stop", object{"droplet": "app-guid", "indices": []int{0}})
	assert.Equal(t, []any{"b.example.com"}, w.await("router.unregister", nil)["uris"])
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 0 }, patience, 5*time.Millisecond)
	for _, msg := range w.quiet() {
		assert.NotEqual(t, "droplet.exited", msg.Subject, "a stop is no exit")
	}
}

func TestCrashIsToldOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.start(w.startMessage(testapp.Serves, nil))
	route := w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	beat := w.running()
	_, err := http.Get(fmt.Sprintf("http://%s:%.0f/exit", route["host"], route["port"]))
	require.Error(t, err)
	w.await("router.unregister", nil)
	exit := w.await("droplet.exited", nil)
	stamp := exit["crash_timestamp"].(float64)
	assert.Equal(t, stamp, float64(int64(stamp)))
	delete(exit, "crash_timestamp")
	assert.Equal(t, object{
		"cc_partition": "default", "droplet": "app-guid", "version": "v1", "instance": beat["instance"], "index": 0.0,
		"reason": "CRASHED", "exit_status": 3.0, "exit_description": "app instance exited",
	}, exit)

	w.publish("healthmanager.start", "")
	crashed := w.await("dea.heartbeat", nil)["droplets"].([]any)[0].(object)
	assert.Equal(t, "CRASHED", crashed["state"])
	require.Eventually(t, func() bool { return w.parts.Ledger.Reserved().MemoryBytes == 0 }, patience, 5*time.Millisecond)
	assert.Len(t, w.find(object{"droplet": "app-guid", "states": []string{"crashed"}, "path": "/logs"}), 1)
	for _, msg := range w.quiet() {
		assert.NotEqual(t, "droplet.exited", msg.Subject, "only once")
	}
}

func TestStartsThatFail(t *testing.T) {
	w := newWorld(t, nil)
	for name, tc := range map[string]struct {
		edit        func(object)
		description string
	}{
		"digest":    {func(m object) { m["sha1"] = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12" }, "failed to start"},
		"not found": {func(m object) { m["sha1"] = strings.Repeat("a", 40); m["executableUri"] = w.store.URL + "/none" }, "failed to start"},
		"moved": {func(m object) {
			m["sha1"] = strings.Repeat("b", 40)
			m["executableUri"] = strings.Replace(w.store.URL, "http://", "http://u:p@", 1) + "/moved"
		}, "failed to start"},
		"stack":        {func(m object) { m["stack"] = "windows" }, "failed to start"},
		"nobody there": {func(m object) { m["sha1"] = strings.Repeat("c", 40); m["executableUri"] = "http://127.0.0.1:1/x" }, "failed to start"},
		"memory":       {func(m object) { m["limits"] = object{"mem": 2048, "disk": 1, "fds": 1} }, "Not enough memory resource available."},
		"disk":         {func(m object) { m["limits"] = object{"mem": 2048, "disk": 99999, "fds": 1} }, "Not enough disk resource available."},
	} {
		t.Run(name, func(t *testing.T) {
			w.start(w.startMessage(testapp.Serves, tc.edit))
			exit := w.await("droplet.exited", nil)
			assert.Equal(t, "CRASHED", exit["reason"])
			assert.Equal(t, -1.0, exit["exit_status"])
			assert.Equal(t, tc.description, exit["exit_description"])
		})
	}
}

func TestInvalidStartsAreSilent(t *testing.T) {
	w := newWorld(t, nil)
	w.quiet()
	for _, key := range []string{"limits", "services", "cc_partition", "name", "version", "index", "droplet"} {
		w.start(w.startMessage(testapp.Serves, func(m object) { delete(m, key) }))
	}
	w.start(w.startMessage(testapp.Serves, func(m object) { m["limits"] = object{"mem": "64", "disk": 1, "fds": 1} }))
	for _, msg := range w.quiet() {
		assert.True(t, strings.HasSuffix(msg.Subject, ".start") || msg.Subject == "dea.advertise" || strings.HasPrefix(msg.Subject, "router.register") ||
			msg.Subject == "dea.heartbeat", "unexpected %s", msg.Subject)
	}
	assert.Empty(t, w.dea.Instances())
}

// Rubbish on every subject leaves the DEA alive and its instances untouched.
func TestRubbishOnEverySubject(t *testing.T) {
	w := newWorld(t, nil)
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	whole, err := json.Marshal(w.startMessage(testapp.Serves, nil))
	require.NoError(t, err)
	subjects := []string{
		"dea.locate", "dea." + w.dea.ID() + ".start", "dea.stop", "dea.update", "dea.find.droplet", "healthmanager.start", "router.start",
	}
	for _, subject := range subjects {
		for _, payload := range []string{
			"", "null", "{}", "[]", "7", `"x"`, "{", `{"droplet"`, "\x00\xff\xfe", `{"droplet":null}`, `{"droplet":{}}`,
			`{"droplet":"app-guid","states":["NO SUCH"]}`, `{"droplet":"other","uris":7}`, `{"droplet":"app-guid","indices":"0"}`,
			string(whole[:len(whole)/2]), string(whole) + "x", strings.Repeat("[", 10000),
		} {
			w.publish(subject, payload)
		}
	}
	w.quiet()
	assert.Equal(t, messaging.Running, w.dea.Instances()[0].Status().State)
}

func TestOneDownloadForManyStarts(t *testing.T) {
	w := newWorld(t, nil)
	for index := range 8 {
		w.start(w.startMessage(testapp.Serves, func(m object) { m["index"] = index; m["limits"] = object{"mem": 8, "disk": 64, "fds": 256} }))
	}
	require.Eventually(t, func() bool {
		running := 0
		for _, i := range w.dea.Instances() {
			if i.Status().State == messaging.Running {
				running++
			}
		}
		return running == 8
	}, patience, 5*time.Millisecond)
	assert.EqualValues(t, 1, w.served.Load())
}

func TestEvacuation(t *testing.T) {
	w := newWorld(t, nil)
	w.start(w.startMessage(testapp.Serves, nil))
	beat := w.running()
	w.dea.Evacuate()
	assert.Equal(t, w.dea.ID(), w.await("dea.shutdown", nil)["id"])
	exit := w.await("droplet.exited", nil)
	assert.Equal(t, "DEA_EVACUATION", exit["reason"])
	assert.Equal(t, beat["instance"], exit["instance"])
	w.await("dea.heartbeat", func(m object) bool {
		list := m["droplets"].([]any)
		return len(list) == 1 && list[0].(object)["state"] == "EVACUATING"
	})
	w.start(w.startMessage(testapp.Serves, func(m object) { m["index"] = 1 })) // refused
	w.publish("router.start", "")
	w.await("router.register", func(m object) bool { return m["app"] == "app-guid" }) // still routed
	assert.Len(t, w.dea.Instances(), 1)

	w.publish("dea.stop", object{"droplet": "app-guid", "instances": []any{beat["instance"]}})
	w.await("router.unregister", func(m object) bool { return m["app"] == "app-guid" })
	w.await("router.unregister", func(m object) bool { return m["uris"].([]any)[0] == "0123.example.com" })
	select {
	case err := <-w.ended:
		require.NoError(t, err)
		w.ended <- nil
	case <-time.After(patience):
		t.Fatal("an empty DEA does not leave")
	}
}

func TestEvacuationBailsOut(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.EvacuationBailOut = 100 * time.Millisecond })
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	w.dea.Evacuate()
	select {
	case err := <-w.ended:
		require.NoError(t, err)
		w.ended <- nil
	case <-time.After(patience):
		t.Fatal("the evacuation does not end")
	}
}

func TestShutdownStopsEverything(t *testing.T) {
	w := newWorld(t, nil)
	w.start(w.startMessage(testapp.Serves, nil))
	w.start(w.startMessage(testapp.NeverListens, func(m object) { m["index"] = 1 }))
	w.running()
	w.stop()
	w.await("dea.shutdown", nil)
	last := w.await("dea.heartbeat", func(m object) bool { return len(m["droplets"].([]any)) == 0 })
	assert.Equal(t, w.dea.ID(), last["dea"])
	w.end()
	var snapshot object
	data, err := os.ReadFile(filepath.Join(w.baseDir, "db/instances.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &snapshot))
	assert.Empty(t, snapshot["instances"])
	w.stop, w.ended = func() {}, make(chan error, 2)
	w.ended <- nil
}

func TestSnapshot(t *testing.T) {
	w := newWorld(t, nil)
	path := filepath.Join(w.baseDir, "db/instances.json")
	w.start(w.startMessage(testapp.Serves, nil))
	beat := w.running()
	var record object
	require.Eventually(t, func() bool {
		var snapshot struct {
			Time         float64
			Instances    []object
			StagingTasks []any `json:"staging_tasks"`
		}
		data, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(data, &snapshot) != nil || len(snapshot.Instances) != 1 || snapshot.Time == 0 || snapshot.StagingTasks == nil {
			return false
		}
		record = snapshot.Instances[0]
		return record["state"] == "RUNNING"
	}, patience, 5*time.Millisecond)
	for _, key := range []string{
		"cc_partition", "application_id", "application_version", "application_name", "application_uris", "instance_id",
		"private_instance_id", "instance_index", "warden_handle", "limits", "health_check_timeout", "environment", "services",
		"droplet_sha1", "droplet_uri", "start_command", "state", "warden_job_id", "warden_container_path", "warden_host_ip",
		"warden_container_ip", "instance_host_port", "instance_container_port", "syslog_drain_urls", "state_starting_timestamp",
	} {
		assert.Contains(t, record, key)
	}
	assert.Equal(t, beat["instance"], record["instance_id"])
	assert.NotNil(t, record["warden_container_path"])
	assert.Equal(t, "", record["environment"].(object)["EMPTY"])
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// While the server is away an instance crashes; when it is back, the exit is told, and the rest is repeated.
func TestServerAway(t *testing.T) {
	w := newWorld(t, nil)
	w.start(w.startMessage(testapp.Serves, nil))
	route := w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	w.start(w.startMessage(testapp.Serves, func(m object) { m["index"] = 1 }))
	w.await("router.register", func(m object) bool { return m["app"] == "app-guid" && m["port"] != route["port"] })
	w.nats.Stop()
	_, err := http.Get(fmt.Sprintf("http://%s:%.0f/exit", route["host"], route["port"]))
	require.Error(t, err)
	require.Eventually(t, func() bool { return w.dea.Instances()[0].Status().State == messaging.Crashed }, patience, 5*time.Millisecond)
	for len(w.heard) > 0 {
		<-w.heard
	}
	w.nats.Start()
	assert.Equal(t, 0.0, w.await("droplet.exited", nil)["index"])
	w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	w.await("dea.heartbeat", func(m object) bool { return len(m["droplets"].([]any)) == 2 })
}

func TestConfigIsChecked(t *testing.T) {
	_, err := dea.New(dea.Config{ID: "a.b"}, dea.Parts{})
	for _, text := range []string{"BaseDir", `"a.b"`, "Conn", "Backend", "Ledger", "Droplets"} {
		assert.ErrorContains(t, err, text)
	}
}

func BenchmarkStartToRunning(b *testing.B) {
	w := newWorld(b, nil)
	for b.Loop() {
		w.start(w.startMessage(testapp.Serves, nil))
		w.running()
		b.StopTimer()
		w.publish("dea.stop", object{"droplet": "app-guid"})
		for len(w.dea.Instances()) > 0 {
			time.Sleep(time.Millisecond)
		}
		for len(w.heard) > 0 {
			<-w.heard
		}
		b.StartTimer()
	}
}
