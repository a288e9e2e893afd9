package messaging_test

import (
	"encoding/json"
	"testing"

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
		ID: "0-4f1c", Stacks: []string{"lucid64"}, AvailableMemory: 3072, AvailableDisk: -1,
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

func TestGoldenStaging(t *testing.T) {
	golden(t, messaging.StagingAdvertise, messaging.StagerAdvertisement{
		ID: "s", Stacks: []string{"lucid64"}, AvailableMemory: 7168, AvailableDisk: ptr(messaging.Int(30720)),
	}, `{"id":"s","stacks":["lucid64"],"available_memory":7168,"available_disk":30720}`)
	golden(t, messaging.StagingStop, messaging.StagingStopMessage{AppID: "a"}, `{"app_id":"a"}`)
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
		{"limits", `{"mem":0,"disk":0,"fds":0}`},
	} {
		_, err := messaging.DEAStart("x").Decode(edited(t, tc.key, tc.raw))
		assert.NoError(t, err, "%s = %s", tc.key, tc.raw)
	}
}

func TestStartMessageRefused(t *testing.T) {
	for _, tc := range []struct{ key, raw, field string }{
		{"droplet", "", "droplet"}, {"index", "", "index"}, {"index", "null", "index"}, {"index", "1.0", "index"}, {"index", "-1", "index"},
		{"index", `"0"`, "index"}, {"name", "", "name"}, {"version", "", "version"}, {"cc_partition", "", "cc_partition"},
		{"services", "", "services"}, {"services", "null", "services"}, {"limits", "", "limits.mem"},
		{"limits", `{"mem":"256","disk":1,"fds":1}`, "limits.mem"}, {"limits", `{"mem":512.0,"disk":1,"fds":1}`, "limits.mem"},
		{"limits", `{"mem":1,"disk":1}`, "limits.fds"}, {"env", `{"A":"b"}`, "env"},
		{"egress_network_rules", `[{"protocol":"sctp"}]`, "egress_network_rules[0].protocol"},
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
	hello, err := messaging.RouterStart.Decode([]byte(`{"minimumRegisterIntervalInSeconds":20.0}`))
	require.NoError(t, err)
	assert.EqualValues(t, 20, hello.MinimumRegisterInterval)
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

// A validation tag with a mistake panics when its type is first checked; this meets every type of the protocol.
func TestEveryKindDecodes(t *testing.T) {
	for _, kind := range messaging.Kinds() {
		for _, data := range []string{`{}`, `{"droplet":"a","index":0}`, `{"id":"x","stacks":[]}`} {
			_, _ = kind.Decode([]byte(data)) // refused or not: it returns
			if kind.DecodeAnswer != nil {
				_, _ = kind.DecodeAnswer([]byte(data))
			}
		}
		found, ok := messaging.KindOf(kind.Subject)
		require.True(t, ok)
		assert.Equal(t, kind.Subject, found.Subject)
	}
	_, err := messaging.Subject[messaging.StagingSetup]("s").Encode(messaging.StagingSetup{TaskID: "t"})
	require.NoError(t, err)
	_, ok := messaging.KindOf("dea.start.extra.tokens")
	assert.False(t, ok)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(startMessage))
	f.Add([]byte(`{"droplet":7,"indices":["1",2],"states":["running"],"path":null,"uris":null}`))
	f.Add([]byte(`{"memory_limit":"5","properties":{"services":[null,{"tags":{}}]},"start_message":{"limits":{"mem":"9"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range messaging.Kinds() {
			message, err := kind.Decode(data)
			if err != nil {
				continue
			}
			wire, err := json.Marshal(message)
			if err != nil {
				t.Fatalf("%s: read but not written: %v", kind.Subject, err)
			}
			if _, err := kind.Decode(wire); err != nil {
				t.Fatalf("%s: written but not read: %v\n%s", kind.Subject, err, wire)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	heartbeat := []byte(`{"dea":"0-4f1c","droplets":[{"cc_partition":"default","droplet":"0e7b","version":"f31d","instance":"9be4","index":0,"state":"RUNNING","state_timestamp":1393629188.4127}]}`)
	for name, bench := range map[string]func() error{
		"start": func() error { _, err := messaging.DEAStart("x").Decode([]byte(startMessage)); return err },
		"stop": func() error {
			_, err := messaging.DEAStop.Decode([]byte(`{"droplet":"a","indices":[0,1]}`))
			return err
		},
		"heartbeat": func() error { _, err := messaging.DEAHeartbeat.Decode(heartbeat); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bench(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
