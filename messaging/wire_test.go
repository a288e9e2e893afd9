package messaging_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
)

func ptr[T any](v T) *T { return &v }

// golden proves that a message is sent as exactly this JSON, and read back as the same message.
func golden[T any](t *testing.T, subject messaging.Subject[T], message T, wire string) {
	t.Helper()
	data, err := subject.Encode(message)
	require.NoError(t, err)
	assert.Equal(t, wire, string(data))
	back, err := subject.Decode([]byte(wire))
	require.NoError(t, err)
	assert.Equal(t, message, back)
}

func TestGoldenDEA(t *testing.T) {
	golden(t, messaging.DEAAdvertise, messaging.Advertisement{
		ID: "0-4f1c", Stacks: []string{"lucid64"}, AvailableMemory: 3072, AvailableDisk: ptr(messaging.Int(-1)),
		AppIDToCount: map[string]int{"app": 2}, PlacementProperties: messaging.Placement{Zone: "z1"},
	}, `{"id":"0-4f1c","stacks":["lucid64"],"available_memory":3072,"available_disk":-1,`+
		`"app_id_to_count":{"app":2},"placement_properties":{"zone":"z1"}}`)
	golden(t, messaging.DEAStop, messaging.StopMessage{
		Filter: messaging.Filter{Droplet: "app", Version: ptr("v"), Indices: messaging.Indices{0, 1}},
	}, `{"droplet":"app","version":"v","indices":[0,1]}`)
	golden(t, messaging.DEAStop, messaging.StopMessage{Filter: messaging.Filter{Droplet: "app"}, WholeApp: true},
		`{"droplet":"app"}`)
	golden(t, messaging.DEAUpdate, messaging.UpdateMessage{Droplet: "app", URIs: ptr([]string{"a.example.com"}), Version: ptr("v2")},
		`{"droplet":"app","uris":["a.example.com"],"version":"v2"}`)
	golden(t, messaging.DEAFindDroplet.Subject(), messaging.FindMessage{
		Filter:       messaging.Filter{Droplet: "app", States: messaging.Names{messaging.Running}},
		IncludeStats: true, Path: messaging.Null[string](),
	}, `{"droplet":"app","states":["RUNNING"],"include_stats":true,"path":null}`)
	golden(t, messaging.DEAShutdown, messaging.Goodbye{ID: "0-4f1c", IP: "10.0.3.7", Version: "0.0.1", AppIDToCount: map[string]int{}},
		`{"id":"0-4f1c","ip":"10.0.3.7","version":"0.0.1","app_id_to_count":{}}`)
	golden(t, messaging.DropletExited, messaging.Exit{
		CCPartition: "default", Droplet: "app", Version: "v", Instance: "9be4", Index: 0, Reason: messaging.ReasonCrashed,
		ExitStatus: 255, ExitDescription: "out of memory", CrashTimestamp: 1393629412,
	}, `{"cc_partition":"default","droplet":"app","version":"v","instance":"9be4","index":0,"reason":"CRASHED",`+
		`"exit_status":255,"exit_description":"out of memory","crash_timestamp":1393629412}`)
	golden(t, messaging.Subject[messaging.FoundInstance]("answer"), messaging.FoundInstance{
		DEA: "0-4f1c", Droplet: "app", Version: "v", Instance: "9be4", Index: 1, State: messaging.Running,
		StateTimestamp: 1393629188.4127, Staged: "/9be4", FileURIV2: "http://x",
		Stats: &messaging.Stats{Name: "shop", URIs: []string{"shop.example.com"}, Host: "10.0.3.7", Port: ptr(uint16(61017)), Uptime: 112,
			MemQuota: 268435456, DiskQuota: 1073741824, FDsQuota: 16384,
			Usage: messaging.Usage{Time: "2014-02-28 23:15:00 +0000", CPU: 0.031, Mem: 71303168, Disk: 58720256}},
	}, `{"dea":"0-4f1c","droplet":"app","version":"v","instance":"9be4","index":1,"state":"RUNNING",`+
		`"state_timestamp":1393629188.4127,"staged":"/9be4","file_uri_v2":"http://x","stats":{"name":"shop",`+
		`"uris":["shop.example.com"],"host":"10.0.3.7","port":61017,"uptime":112,"mem_quota":268435456,`+
		`"disk_quota":1073741824,"fds_quota":16384,"usage":{"time":"2014-02-28 23:15:00 +0000","cpu":0.031,`+
		`"mem":71303168,"disk":58720256}}}`)
}

func TestGoldenHealthAndRouter(t *testing.T) {
	golden(t, messaging.DEAHeartbeat, messaging.Heartbeat{DEA: "0-4f1c", Droplets: []messaging.Instance{{
		CCPartition: "default", Droplet: "app", Version: "v", Instance: "9be4", Index: 0, State: messaging.Evacuating,
		StateTimestamp: 1393629188.4127,
	}}}, `{"dea":"0-4f1c","droplets":[{"cc_partition":"default","droplet":"app","version":"v","instance":"9be4",`+
		`"index":0,"state":"EVACUATING","state_timestamp":1393629188.4127}]}`)
	golden(t, messaging.DEAHeartbeat, messaging.Heartbeat{DEA: "d", Droplets: []messaging.Instance{}}, `{"dea":"d","droplets":[]}`)
	golden(t, messaging.RouterStart, messaging.RouterHello{ID: "r", Hosts: []string{"10.0.0.1"}, MinimumRegisterInterval: 5},
		`{"id":"r","hosts":["10.0.0.1"],"minimumRegisterIntervalInSeconds":5}`)
	golden(t, messaging.RouterRegister, messaging.Route{
		DEA: "0-4f1c", App: "app", URIs: []string{}, Host: "10.0.3.7", Port: 61017,
		Tags: map[string]string{"component": "dea-0"}, PrivateInstanceID: "p",
	}, `{"dea":"0-4f1c","app":"app","uris":[],"host":"10.0.3.7","port":61017,"tags":{"component":"dea-0"},"private_instance_id":"p"}`)
}

// The URL of an offer is absent, null, or there; a DEA without HTTPS sends either of the first two.
func TestGoldenURLOfAnOffer(t *testing.T) {
	for wire, url := range map[string]messaging.Optional[string]{
		``: {}, `,"url":null`: messaging.Null[string](), `,"url":"https://dea-0:1234"`: messaging.Present("https://dea-0:1234"),
	} {
		golden(t, messaging.DEAAdvertise, messaging.Advertisement{
			ID: "d", Stacks: []string{}, AvailableDisk: ptr(messaging.Int(1)), AppIDToCount: map[string]int{},
			PlacementProperties: messaging.Placement{Zone: "default"}, URL: url,
		}, `{"id":"d","stacks":[],"available_memory":0,"available_disk":1,"app_id_to_count":{},`+
			`"placement_properties":{"zone":"default"}`+wire+`}`)
	}
}

func TestGoldenOldSubjects(t *testing.T) {
	golden(t, messaging.DEAHello, messaging.Hello{ID: "0-4f1c", IP: "10.0.3.7", Version: "0.0.1"},
		`{"id":"0-4f1c","ip":"10.0.3.7","version":"0.0.1"}`)
	golden(t, messaging.DEAStatus.Subject(), messaging.Signal{}, `{}`)
	golden(t, messaging.Subject[messaging.Capacity]("answer"), messaging.Capacity{
		ID: "0-4f1c", IP: "10.0.3.7", Version: "0.0.1", MaxMemory: 4096, ReservedMemory: 1024, UsedMemory: 512,
	}, `{"id":"0-4f1c","ip":"10.0.3.7","version":"0.0.1","max_memory":4096,"reserved_memory":1024,"used_memory":512,"num_clients":null}`)
	golden(t, messaging.DEADiscover.Subject(), messaging.DiscoverMessage{
		Droplet: "app", Limits: messaging.Limits{Mem: 256, Disk: 1024, FDs: 16384},
	}, `{"droplet":"app","limits":{"mem":256,"disk":1024,"fds":16384}}`)
	golden(t, messaging.Subject[messaging.InstanceSummary]("answer"), messaging.InstanceSummary{Name: "shop", URIs: []string{"a.example.com"}},
		`{"name":"shop","uris":["a.example.com"]}`)
	golden(t, messaging.DropletUpdated, messaging.Signal{}, `{}`)
}

func TestGoldenComponents(t *testing.T) {
	component := messaging.Component{
		Type: "DEA", Index: 0, UUID: "0-4f1c", Host: "10.0.3.7:34501", Credentials: []string{"user", "password"},
		Start: "2014-02-28 15:13:08 -0800",
	}
	const announced = `{"type":"DEA","index":0,"uuid":"0-4f1c","host":"10.0.3.7:34501","credentials":["user","password"],` +
		`"start":"2014-02-28 15:13:08 -0800"`
	golden(t, messaging.ComponentAnnounce, component, announced+`}`)
	component.Uptime = messaging.Uptime(12*time.Minute + 7*time.Second + 900*time.Millisecond)
	golden(t, messaging.Subject[messaging.Component]("answer"), component, announced+`,"uptime":"0d:0h:12m:7s"}`)
	assert.Equal(t, "3d:4h:5m:6s", messaging.Uptime(76*time.Hour+5*time.Minute+6*time.Second))
	assert.Equal(t, "0d:0h:0m:0s", messaging.Uptime(-time.Hour))
}

func TestGoldenStaging(t *testing.T) {
	golden(t, messaging.StagingAdvertise, messaging.StagerAdvertisement{
		ID: "s", Stacks: []string{"lucid64"}, AvailableMemory: 7168, AvailableDisk: ptr(messaging.Int(30720)),
	}, `{"id":"s","stacks":["lucid64"],"available_memory":7168,"available_disk":30720}`)
	golden(t, messaging.StagingStop, messaging.StagingStopMessage{AppID: "a"}, `{"app_id":"a"}`)
	golden(t, messaging.Buildpacks, messaging.BuildpackList{{Key: "b1_0f3c", URL: "http://cc/b1"}}, `[{"key":"b1_0f3c","url":"http://cc/b1"}]`)
	for _, query := range []messaging.Query[messaging.StagingRequest, messaging.StagingAnswer]{messaging.StagingStart("s"), messaging.StagingQueue} {
		golden(t, query.Subject(), messaging.StagingRequest{
			AppID: "a", TaskID: "t", DownloadURI: "http://cc/app", UploadURI: "http://cc/droplet", Stack: "cflinuxfs2",
			Properties: messaging.StagingProperties{
				Services: messaging.Services{}, Environment: []string{"A=b"}, Meta: messaging.StagingMeta{Command: "run"}, BuildpackKey: "b1",
				Resources: &messaging.StagingResources{Memory: 256, Disk: 1024, FDs: 16384},
			},
			StartMessage:    json.RawMessage(`{"index":0,"sha1":null}`),
			AdminBuildpacks: []messaging.AdminBuildpack{{Key: "b1", URL: "http://cc/b1"}}, MemoryLimit: 512,
		}, `{"app_id":"a","task_id":"t","properties":{"services":[],"resources":{"memory":256,"disk":1024,"fds":16384},`+
			`"environment":["A=b"],"meta":{"command":"run"},"buildpack_key":"b1"},"download_uri":"http://cc/app",`+
			`"upload_uri":"http://cc/droplet","start_message":{"index":0,"sha1":null},`+
			`"admin_buildpacks":[{"key":"b1","url":"http://cc/b1"}],"stack":"cflinuxfs2","memory_limit":512}`)
	}
	golden(t, messaging.Subject[messaging.StagingSetup]("answer"), messaging.StagingSetup{TaskID: "t", StreamingLogURL: "http://x"},
		`{"task_id":"t","task_streaming_log_url":"http://x","error":null}`)
	golden(t, messaging.Subject[messaging.StagingResult]("answer"), messaging.StagingResult{
		TaskID: "t", AppID: "a", Error: "Script exited with status 1",
		ErrorInfo: &messaging.StagingError{Type: messaging.CompileFailed, Message: "Buildpack compilation step failed"},
	}, `{"task_id":"t","detected_buildpack":null,"buildpack_key":null,"droplet_sha1":null,"detected_start_command":null,`+
		`"procfile":null,"app_id":"a","error":"Script exited with status 1",`+
		`"error_info":{"type":"BuildpackCompileFailed","message":"Buildpack compilation step failed"}}`)
	golden(t, messaging.Subject[messaging.StagingRefusal]("answer"),
		messaging.StagingRefusal{TaskID: "t", Error: "Not enough memory resources available"},
		`{"task_id":"t","error":"Not enough memory resources available"}`)
}

func TestGoldenStart(t *testing.T) {
	golden(t, messaging.DEAStart("d"), messaging.StartMessage{
		Droplet: "app", Index: 0, Name: "shop", Version: "v", URIs: []string{"a.example.com"}, CCPartition: "default",
		Limits: messaging.Limits{Mem: 256, Disk: 1024, FDs: 16384}, SHA1: "2fd4", ExecutableURI: "http://cc/droplet", Env: []string{"A=b"},
		Services:           messaging.Services{{Name: "db", Label: "user-provided", Credentials: json.RawMessage(`{"uri":"mysql://x"}`)}},
		HealthCheckTimeout: 60, Stack: "cflinuxfs2",
		EgressNetworkRules: []messaging.EgressRule{{Protocol: "icmp", Type: ptr(0), Code: ptr(-1), Log: true}},
		VCAPApplication:    map[string]json.RawMessage{"users": json.RawMessage(`null`)},
	}, `{"droplet":"app","index":0,"name":"shop","version":"v","uris":["a.example.com"],"cc_partition":"default",`+
		`"limits":{"mem":256,"disk":1024,"fds":16384},"sha1":"2fd4","executableUri":"http://cc/droplet","env":["A=b"],`+
		`"services":[{"name":"db","label":"user-provided","credentials":{"uri":"mysql://x"}}],"health_check_timeout":60,`+
		`"stack":"cflinuxfs2","egress_network_rules":[{"protocol":"icmp","type":0,"code":-1,"log":true}],"vcap_application":{"users":null}}`)
}

func TestGoldenSignals(t *testing.T) {
	for _, subject := range []messaging.Subject[messaging.Signal]{
		messaging.DEALocate, messaging.HealthManagerStart, messaging.StagingLocate, messaging.RouterGreet.Subject(),
		messaging.DropletStatus.Subject(), messaging.ComponentDiscover.Subject(),
	} {
		golden(t, subject, messaging.Signal{}, `{}`)
	}
}

// The example of a start message of 2014, with the forms that its sender used.
const startMessage = `{"droplet":"0e7b4b2e","index":0,"name":"shop","version":"f31d","uris":["shop.example.com"],
 "prod":false,"sha1":"2fd4e1c67a2d28fced849ee1bb76e7391b93eb12","executableFile":"deprecated",
 "executableUri":"http://u:p@cc.example.com/staged_droplets/0e7b4b2e/download",
 "services":[{"name":"db","label":"user-provided","tags":[],"credentials":{"uri":"mysql://a:b@10.1.1.1/x"},"options":{},"syslog_drain_url":null,"plan":null},null],
 "limits":{"mem":256,"disk":1024,"fds":16384},"cc_partition":"default","env":["RACK_ENV=production","EMPTY=","=x","A=1","A=b=c"],
 "console":false,"debug":null,"start_command":null,"health_check_timeout":null,"stack":"cflinuxfs2",
 "egress_network_rules":[{"protocol":"tcp","destination":"0.0.0.0/0","ports":"443"}],
 "vcap_application":{"application_name":"shop"}}`

func TestStartMessage(t *testing.T) {
	m, err := messaging.DEAStart("x").Decode([]byte(startMessage))
	require.NoError(t, err)
	assert.Equal(t, messaging.Text("0e7b4b2e"), m.Droplet)
	assert.Equal(t, messaging.Limits{Mem: 256, Disk: 1024, FDs: 16384}, m.Limits)
	assert.Empty(t, m.StartCommand)
	assert.Zero(t, m.HealthCheckTimeout)
	require.Len(t, m.Services, 1, "null entries are dropped")
	service, err := json.Marshal(m.Services[0])
	require.NoError(t, err)
	assert.Equal(t, `{"name":"db","label":"user-provided","tags":[],"credentials":{"uri":"mysql://a:b@10.1.1.1/x"}}`, string(service))
	assert.Equal(t, []messaging.EnvVar{{"RACK_ENV", "production"}, {"EMPTY", ""}, {"A", "b=c"}}, m.Environment())
}

// edited returns the start message with one key set to raw JSON, or without it when raw is empty.
func edited(t *testing.T, key, raw string) []byte {
	t.Helper()
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(startMessage), &m))
	delete(m, key)
	if raw != "" {
		m[key] = json.RawMessage(raw)
	}
	data, err := json.Marshal(m)
	require.NoError(t, err)
	return data
}

func TestStartMessageLooseForms(t *testing.T) {
	for _, tc := range []struct{ key, raw string }{
		{"droplet", "42"}, {"uris", "null"}, {"uris", ""}, {"env", "null"}, {"env", ""}, {"services", "[]"}, {"sha1", "null"},
		{"executableUri", "null"}, {"unknown", `{"x":[1]}`}, {"debug", `"suspend"`}, {"debug", "true"}, {"health_check_timeout", "0"},
		{"start_command", `"run"`}, {"vcap_application", "null"}, {"egress_network_rules", "null"}, {"index", "7"},
		{"limits", `{"mem":0,"disk":0,"fds":0}`}, {"egress_network_rules", `[{"protocol":"sctp"}]`},
	} {
		_, err := messaging.DEAStart("x").Decode(edited(t, tc.key, tc.raw))
		assert.NoError(t, err, "%s = %s", tc.key, tc.raw)
	}
}

// What runs an app is told in several ways, and none that makes no sense is a reason to refuse a message.
func TestWantedRuntime(t *testing.T) {
	for told, want := range map[string]string{
		`"runtime_info":{"name":"ruby19"},"runtime":"ruby18"`: `{"name":"ruby19"}`,
		`"runtime_info":null,"runtime":"ruby18"`:              `"ruby18"`,
		`"runtime": {"name":"ruby18"}`:                        `{"name":"ruby18"}`,
		`"runtime_info":[1],"runtime":7`:                      ``,
		`"runtime":""`:                                        ``,
		`"runtime":null`:                                      ``,
		`"x":1`:                                               ``,
	} {
		m, err := messaging.DEAStart("x").Decode([]byte(strings.Replace(startMessage, "{", "{"+told+",", 1)))
		require.NoError(t, err, told)
		assert.Equal(t, want, string(m.WantedRuntime()), told)
	}
}

func TestStartMessageRefused(t *testing.T) {
	for _, tc := range []struct{ key, raw, field string }{
		{"droplet", "", "droplet"}, {"index", "", "index"}, {"index", "null", "index"}, {"index", "1.0", "index"}, {"index", "-1", "index"},
		{"index", `"0"`, "index"}, {"name", "", "name"}, {"version", "", "version"}, {"cc_partition", "", "cc_partition"},
		{"services", "", "services"}, {"services", "null", "services"}, {"limits", "", "limits.mem"},
		{"limits", `{"mem":"256","disk":1,"fds":1}`, "limits.mem"}, {"limits", `{"mem":512.0,"disk":1,"fds":1}`, "limits.mem"},
		{"limits", `{"mem":1,"disk":1}`, "limits.fds"}, {"env", `{"A":"b"}`, "env"},
	} {
		_, err := messaging.DEAStart("x").Decode(edited(t, tc.key, tc.raw))
		var refused *messaging.MessageError
		if assert.ErrorAs(t, err, &refused, "%s = %s", tc.key, tc.raw) {
			assert.Equal(t, tc.field, refused.Problems[0].Field, "%s = %s: %v", tc.key, tc.raw, err)
		}
	}
}

func TestRefusedMessagesShowNoSecrets(t *testing.T) {
	_, err := messaging.DEAStart("x").Decode(edited(t, "index", ""))
	assert.NotContains(t, err.Error(), "u:p@")
	_, err = messaging.DEAStart("x").Decode([]byte(startMessage[:300]))
	assert.NotContains(t, err.Error(), "u:p@")
}

func TestParseEnv(t *testing.T) {
	assert.Equal(t, []messaging.EnvVar{{"B", "2"}, {"A", "3=4"}, {"C", ""}},
		messaging.ParseEnv([]string{"A=1", "=x", "", "B=2", "A=3=4", "C"}))
	assert.Nil(t, messaging.ParseEnv(nil))
	// More than fit a message: what takes the square of their number does not end in the time of a test.
	entries := make([]string, 400_000)
	for n := range entries {
		entries[n] = strconv.Itoa(n)
	}
	assert.Len(t, messaging.ParseEnv(entries), len(entries))
}

// However wrong a message is, what is said of it fits a line of a log.
func TestRefusalsAreShort(t *testing.T) {
	_, err := messaging.DEAStart("x").Decode(edited(t, "index", strings.Repeat("1", 1<<20)))
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 200)
	_, err = messaging.DEAHeartbeat.Decode([]byte(`{"dea":"d","droplets":[{}` + strings.Repeat(",{}", 10_000) + `]}`))
	var refused *messaging.MessageError
	require.ErrorAs(t, err, &refused)
	assert.Greater(t, len(refused.Problems), 10_000, "all are there")
	assert.Less(t, len(err.Error()), 1000)
	assert.Contains(t, err.Error(), " more")
}

func TestTruncatedOrTrailingJSONIsRefused(t *testing.T) {
	for _, data := range []string{"", "null", "  ", "{", `{"droplet":"a"`, `{"droplet":"a"}x`, `{"droplet":"a"}{}`, `[]`, `"a"`, "\x00\xff"} {
		_, err := messaging.DEAStop.Decode([]byte(data))
		var refused *messaging.MessageError
		assert.ErrorAs(t, err, &refused, "%q", data)
	}
}

func TestSignalsTakeAnyPayload(t *testing.T) {
	for _, data := range []string{"", "null", "{}", `"x"`, "[1,2]", "{broken", "\x00"} {
		_, err := messaging.DEALocate.Decode([]byte(data))
		assert.NoError(t, err, "%q", data)
		hello, err := messaging.RouterStart.Decode([]byte(data))
		assert.NoError(t, err, "%q", data)
		assert.Zero(t, hello.MinimumRegisterInterval)
	}
	for raw, want := range map[string]int64{
		`{"minimumRegisterIntervalInSeconds":20.0}`:                       20,
		`{"minimumRegisterIntervalInSeconds":null}`:                       0,
		`{"id":7,"hosts":"x","minimumRegisterIntervalInSeconds":15}`:      15, // what can be read is read
		`{"minimumRegisterIntervalInSeconds":15}{"hosts":[]}`:             0,
		`{"hosts":["10.0.0.1"],"minimumRegisterIntervalInSeconds":"soon"`: 0,
	} {
		hello, err := messaging.RouterStart.Decode([]byte(raw))
		require.NoError(t, err)
		assert.EqualValues(t, want, hello.MinimumRegisterInterval, raw)
	}
}

func TestLooseNumbers(t *testing.T) {
	for raw, want := range map[string]int64{`512`: 512, `"512"`: 512, `4096.0`: 4096, `4096.7`: 4096, `-3`: -3, `1e3`: 1000, `null`: 0, `""`: 0} {
		r, err := messaging.StagingStart("x").Decode([]byte(`{"memory_limit":` + raw + `}`))
		require.NoError(t, err, raw)
		assert.EqualValues(t, want, r.MemoryLimit, raw)
	}
	for _, raw := range []string{`"many"`, `true`, `{}`, `1e400`, `"NaN"`} {
		_, err := messaging.StagingStart("x").Decode([]byte(`{"memory_limit":` + raw + `}`))
		assert.Error(t, err, raw)
	}
}

func TestFindPath(t *testing.T) {
	for raw, want := range map[string]messaging.Optional[string]{
		`{"droplet":"a"}`:             {},
		`{"droplet":"a","path":null}`: messaging.Null[string](),
		`{"droplet":"a","path":"/x"}`: messaging.Present("/x"),
	} {
		m, err := messaging.DEAFindDroplet.Decode([]byte(raw))
		require.NoError(t, err)
		assert.Equal(t, want, m.Path, raw)
	}
	for raw, want := range map[string]bool{"true": true, "1": true, "0": true, `"x"`: true, "false": false, "null": false} {
		m, err := messaging.DEAFindDroplet.Decode([]byte(`{"droplet":7,"include_stats":` + raw + `}`))
		require.NoError(t, err)
		assert.Equal(t, messaging.Truth(want), m.IncludeStats, raw)
		assert.Equal(t, messaging.Text("7"), m.Droplet)
	}
}

func TestFilter(t *testing.T) {
	matches := func(filter string) bool {
		m, err := messaging.DEAStop.Decode([]byte(filter))
		require.NoError(t, err, filter)
		return m.Matches("app", "v1", "guid1", 2, messaging.Running)
	}
	for filter, want := range map[string]bool{
		`{"droplet":"app"}`:                                                   true,
		`{"droplet":"other"}`:                                                 false,
		`{"droplet":"app","version":"v1"}`:                                    true,
		`{"droplet":"app","version":"v2"}`:                                    false,
		`{"droplet":"app","version":""}`:                                      false,
		`{"droplet":"app","version":null}`:                                    true,
		`{"droplet":"app","indices":[2]}`:                                     true,
		`{"droplet":"app","indices":[0,1]}`:                                   false,
		`{"droplet":"app","indices":["2"]}`:                                   false,
		`{"droplet":"app","indices":[]}`:                                      true,
		`{"droplet":"app","indices":null}`:                                    true,
		`{"droplet":"app","instances":["guid1"]}`:                             true,
		`{"droplet":"app","instances":"guid1"}`:                               true,
		`{"droplet":"app","instances":[7]}`:                                   false,
		`{"droplet":"app","instances":["x"],"instance_ids":["guid1"]}`:        true,
		`{"droplet":"app","instance_ids":["x"]}`:                              false,
		`{"droplet":"app","states":["running","starting"]}`:                   true,
		`{"droplet":"app","states":["CRASHED"]}`:                              false,
		`{"droplet":"app","states":["deleted"]}`:                              false,
		`{"droplet":"app","version":"v1","indices":[2],"states":["RUNNING"]}`: true,
		`{"droplet":"app","version":"v1","indices":[3],"states":["RUNNING"]}`: false,
	} {
		assert.Equal(t, want, matches(filter), filter)
	}
	_, err := messaging.DEAStop.Decode([]byte(`{"droplet":"app","states":["DANCING"]}`))
	assert.ErrorContains(t, err, "Unknown state: DANCING")
}

func TestWholeApp(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"droplet":"a"}`: true, `{"droplet":1}`: true, `{"droplet":"a","indices":[0]}`: false, `{"droplet":"a","version":null}`: false,
	} {
		m, err := messaging.DEAStop.Decode([]byte(raw))
		require.NoError(t, err)
		assert.Equal(t, want, m.WholeApp, raw)
	}
}

func TestSendingIsStrict(t *testing.T) {
	_, err := messaging.DEAHeartbeat.Encode(messaging.Heartbeat{DEA: "a.b", Droplets: nil})
	var refused *messaging.MessageError
	require.ErrorAs(t, err, &refused)
	assert.Len(t, refused.Problems, 2, "all problems at once: %v", err)
	_, err = messaging.RouterRegister.Encode(messaging.Route{URIs: []string{"x"}, Host: "h"})
	assert.ErrorContains(t, err, "port")
}
