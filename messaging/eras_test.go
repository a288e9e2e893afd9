package messaging_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
)

// era is a message as one generation of peers sent it, and what is understood of it.
func era[T any](t *testing.T, name string, subject messaging.Subject[T], wire string, want T) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		have, err := subject.Decode([]byte(wire))
		require.NoError(t, err)
		assert.Equal(t, want, have)
	})
}

func TestOffersOfAllEras(t *testing.T) {
	era(t, "2013 spring", messaging.DEAAdvertise,
		`{"id":"0-4f1c","prod":false,"stacks":["lucid64"],"available_memory":4096.0,"app_id_to_count":{}}`,
		messaging.Advertisement{ID: "0-4f1c", Stacks: []string{"lucid64"}, AvailableMemory: 4096, AppIDToCount: map[string]int{}})
	era(t, "2013 spring, for production", messaging.DEAAdvertise,
		`{"id":"0-4f1c","prod":true,"stacks":["lucid64"],"available_memory":1,"available_disk":null,"app_id_to_count":{}}`,
		messaging.Advertisement{ID: "0-4f1c", Stacks: []string{"lucid64"}, AvailableMemory: 1, AppIDToCount: map[string]int{}, Prod: true})
	era(t, "2014 March", messaging.DEAAdvertise,
		`{"id":"0-4f1c","stacks":["lucid64"],"available_memory":-12.5,"available_disk":9216,"available_instances":256,`+
			`"app_id_to_count":{"a":2},"placement_properties":{"zone":"z1"}}`,
		messaging.Advertisement{
			ID: "0-4f1c", Stacks: []string{"lucid64"}, AvailableMemory: -13, AvailableDisk: ptr(messaging.Int(9216)),
			AppIDToCount: map[string]int{"a": 2}, PlacementProperties: messaging.Placement{Zone: "z1"}, AvailableInstances: ptr(messaging.Int(256)),
		})
	era(t, "2016, no HTTPS", messaging.DEAAdvertise,
		`{"id":"7b2e-11","stacks":["cflinuxfs2"],"available_memory":1,"available_disk":2,"app_id_to_count":{},"placement_properties":{"zone":"default"},"url":null}`,
		messaging.Advertisement{
			ID: "7b2e-11", Stacks: []string{"cflinuxfs2"}, AvailableMemory: 1, AvailableDisk: ptr(messaging.Int(2)),
			AppIDToCount: map[string]int{}, PlacementProperties: messaging.Placement{Zone: "default"}, URL: messaging.Null[string](),
		})
	era(t, "stager, 2013", messaging.StagingAdvertise, `{"id":"s","stacks":["lucid64"],"available_memory":7168.5}`,
		messaging.StagerAdvertisement{ID: "s", Stacks: []string{"lucid64"}, AvailableMemory: 7168})
	era(t, "hello, 2013", messaging.DEAHello, `{"id":"0-4f1c","ip":"10.0.3.7","port":34567,"version":"0.0.1"}`,
		messaging.Hello{ID: "0-4f1c", IP: "10.0.3.7", Version: "0.0.1", Port: 34567})
	era(t, "good-bye of which only the id counts", messaging.DEAShutdown, `{"id":"0-4f1c"}`, messaging.Goodbye{ID: "0-4f1c"})
	era(t, "status", messaging.Subject[messaging.Capacity]("answer"),
		`{"id":"d","ip":"10.0.3.7","port":null,"version":"0.0.1","max_memory":6144.0,"reserved_memory":0,"used_memory":0,"num_clients":null}`,
		messaging.Capacity{ID: "d", IP: "10.0.3.7", Version: "0.0.1", MaxMemory: 6144})
	era(t, "auction of 2012", messaging.DEADiscover.Subject(),
		`{"droplet":17,"name":"shop","runtime":"ruby19","sha1":"2fd4","limits":{"mem":256,"disk":1024}}`,
		messaging.DiscoverMessage{Droplet: "17", Limits: messaging.Limits{Mem: 256, Disk: 1024}})
}

func TestAnswersOfAllEras(t *testing.T) {
	answer := messaging.DEAFindDroplet.DecodeAnswer
	have, err := answer([]byte(`{"dea":"0-4f1c","droplet":17,"version":"v","instance":"9be4","index":0,"state":"RUNNING",
 "state_timestamp":1371234567,"staged":"/9be4","file_uri":"http://10.0.3.7:34567/instances","credentials":["user","password"],
 "console_ip":"10.0.3.7","console_port":61018,"debug_ip":null,"debug_port":null,
 "stats":{"name":"shop","uris":null,"host":"10.0.3.7","port":null,"uptime":12.7,"mem_quota":1,"disk_quota":2,"fds_quota":3,
 "usage":{"time":"2013-06-14 18:29:27 +0000","cpu":0,"mem":69632,"disk":0}}}`))
	require.NoError(t, err)
	assert.Equal(t, messaging.FoundInstance{
		DEA: "0-4f1c", Droplet: "17", Version: "v", Instance: "9be4", State: messaging.Running, StateTimestamp: 1371234567, Staged: "/9be4",
		FileURI: "http://10.0.3.7:34567/instances", Credentials: []string{"user", "password"}, ConsoleIP: "10.0.3.7", ConsolePort: 61018,
		Stats: &messaging.Stats{
			Name: "shop", Host: "10.0.3.7", Uptime: 12, MemQuota: 1, DiskQuota: 2, FDsQuota: 3,
			Usage: messaging.Usage{Time: "2013-06-14 18:29:27 +0000", Mem: 69632},
		},
	}, have)
}

func TestUsageTime(t *testing.T) {
	want := time.Date(2014, 2, 28, 23, 15, 0, 0, time.UTC)
	for _, text := range []string{"2014-02-28 23:15:00 +0000", "2014-02-28 15:15:00 -0800", "2014-02-28 23:15:00 UTC", "2014-02-28T23:15:00Z"} {
		have, err := messaging.Usage{Time: text}.Taken()
		require.NoError(t, err, text)
		assert.True(t, want.Equal(have), text)
	}
	for _, text := range []string{"", "yesterday", "2014-02-28 23:15:00"} {
		_, err := messaging.Usage{Time: text}.Taken()
		assert.ErrorContains(t, err, messaging.UsageTimeLayout, text)
	}
}

func TestHealthAndRoutesOfAllEras(t *testing.T) {
	era(t, "heartbeat, 2013", messaging.DEAHeartbeat,
		`{"dea":"0-4f1c","prod":false,"droplets":[{"cc_partition":"default","droplet":17,"version":"v","instance":"9be4","index":0,"state":"CRASHED","state_timestamp":1371234567}]}`,
		messaging.Heartbeat{DEA: "0-4f1c", Droplets: []messaging.Instance{{
			CCPartition: "default", Droplet: "17", Version: "v", Instance: "9be4", State: messaging.Crashed, StateTimestamp: 1371234567,
		}}})
	era(t, "stop, 2013", messaging.DropletExited,
		`{"cc_partition":"default","droplet":"a","version":"v","instance":"9be4","index":2,"reason":"DEA_SHUTDOWN","exit_status":-1,"exit_description":""}`,
		messaging.Exit{CCPartition: "default", Droplet: "a", Version: "v", Instance: "9be4", Index: 2, Reason: messaging.ReasonShutdown, ExitStatus: -1})
	era(t, "route of an app, 2014", messaging.RouterRegister,
		`{"dea":"0-4f1c","app":"a","uris":["a.example.com"],"host":"10.0.3.7","port":61017,"tags":{"component":"dea-0"}}`,
		messaging.Route{DEA: "0-4f1c", App: "a", URIs: []string{"a.example.com"}, Host: "10.0.3.7", Port: 61017, Tags: map[string]string{"component": "dea-0"}})
	era(t, "route, 2016", messaging.RouterRegister,
		`{"uris":[],"host":"10.0.3.7","port":8080,"tags":null,"stale_threshold_in_seconds":60,"route_service_url":"https://rs","private_instance_index":3}`,
		messaging.Route{URIs: []string{}, Host: "10.0.3.7", Port: 8080, StaleThreshold: 60, RouteServiceURL: "https://rs", PrivateInstanceIndex: "3"})
	era(t, "router, 2014", messaging.RouterStart, `{"id":"r","hosts":["10.0.0.5"],"minimumRegisterIntervalInSeconds":5}`,
		messaging.RouterHello{ID: "r", Hosts: []string{"10.0.0.5"}, MinimumRegisterInterval: 5})
	era(t, "router before it told an interval", messaging.RouterStart, `{"id":"r","version":"0.98"}`, messaging.RouterHello{ID: "r"})
	era(t, "another component", messaging.ComponentAnnounce,
		`{"type":"Router","index":null,"uuid":"0-77","host":"10.0.0.5:8081","credentials":["u","p"],"start":"2014-02-28 15:13:08 -0800","config":{}}`,
		messaging.Component{Type: "Router", UUID: "0-77", Host: "10.0.0.5:8081", Credentials: []string{"u", "p"}, Start: "2014-02-28 15:13:08 -0800"})
}

// What an update does not say, or says with null, is left as it is.
func TestUpdatesOfAllEras(t *testing.T) {
	era(t, "routes only", messaging.DEAUpdate, `{"droplet":17,"uris":["a","a"]}`,
		messaging.UpdateMessage{Droplet: "17", URIs: ptr([]string{"a", "a"})})
	era(t, "no routes from now on", messaging.DEAUpdate, `{"droplet":"a","uris":[],"version":"v"}`,
		messaging.UpdateMessage{Droplet: "a", URIs: ptr([]string{}), Version: ptr("v")})
	era(t, "null", messaging.DEAUpdate, `{"droplet":"a","uris":null,"version":null}`, messaging.UpdateMessage{Droplet: "a"})
}

func TestStagingOfAllEras(t *testing.T) {
	era(t, "request of February 2013", messaging.StagingQueue.Subject(),
		`{"app_id":17,"task_id":"t","async":true,"properties":{"services":[],"framework":"rack","meta":{"console":null},"environment":null},`+
			`"download_uri":"http://cc/app","upload_uri":"http://cc/droplet"}`,
		messaging.StagingRequest{
			AppID: "17", TaskID: "t", DownloadURI: "http://cc/app", UploadURI: "http://cc/droplet",
			Properties: messaging.StagingProperties{Services: messaging.Services{}, Framework: json.RawMessage(`"rack"`)},
		})
	era(t, "request with everything null", messaging.StagingStart("s").Subject(),
		`{"app_id":"a","task_id":null,"properties":null,"download_uri":null,"upload_uri":"u","buildpack_cache_download_uri":null,`+
			`"buildpack_cache_upload_uri":null,"start_message":null,"admin_buildpacks":null,"egress_network_rules":null,"stack":null,`+
			`"memory_limit":null,"disk_limit":"4096","accepts_http":null}`,
		messaging.StagingRequest{AppID: "a", UploadURI: "u", DiskLimit: 4096, StartMessage: json.RawMessage("null")})

	for resources, want := range map[string]*messaging.StagingResources{
		`null`: nil, `{"memory":256,"disk":"1024","fds":null}`: {Memory: 256, Disk: 1024},
		`{"memory":"x","disk":1}`: {}, `"small"`: {}, `[]`: {}, // nobody reads them: no reason to refuse
	} {
		have, err := messaging.StagingStart("s").Decode([]byte(`{"properties":{"resources":` + resources + `}}`))
		require.NoError(t, err, resources)
		assert.Equal(t, want, have.Properties.Resources, resources)
	}

	for name, test := range map[string]struct {
		wire string
		want messaging.StagingAnswer
	}{
		"set-up, 2014-01": {`{"task_id":"t","task_streaming_log_url":"http://x","detected_buildpack":null,"error":null,"droplet_sha1":null}`,
			messaging.StagingAnswer{TaskID: "t", StreamingLogURL: "http://x"}},
		"result, 2014-01": {`{"task_id":"t","task_streaming_log_url":null,"detected_buildpack":"Ruby/Rack","error":null,"droplet_sha1":"2fd4"}`,
			messaging.StagingAnswer{TaskID: "t", DetectedBuildpack: "Ruby/Rack", DropletSHA1: "2fd4"}},
		"result with its log, 2013": {`{"task_id":"t","task_log":"a\nb","detected_buildpack":"x","droplet_sha1":null,"error":"Script exited with status 1"}`,
			messaging.StagingAnswer{TaskID: "t", TaskLog: "a\nb", DetectedBuildpack: "x", Error: "Script exited with status 1"}},
		"result, 2015": {`{"task_id":"t","detected_buildpack":null,"buildpack_key":"b","droplet_sha1":"2fd4","detected_start_command":"run","procfile":{"web":"run"}}`,
			messaging.StagingAnswer{TaskID: "t", BuildpackKey: "b", DropletSHA1: "2fd4", DetectedStartCommand: "run", Procfile: map[string]messaging.Text{"web": "run"}}},
		"result over HTTP, 2016": {`{"task_id":"t","app_id":"a","dea_id":"d","error":"e","error_info":{"type":"NoAppDetectedError","message":"m"}}`,
			messaging.StagingAnswer{TaskID: "t", AppID: "a", DEAID: "d", Error: "e", ErrorInfo: &messaging.StagingError{Type: messaging.NoAppDetected, Message: "m"}}},
		"refusal":            {`{"task_id":"t","error":"Not enough disk resources available"}`, messaging.StagingAnswer{TaskID: "t", Error: "Not enough disk resources available"}},
		"nothing but a text": {`"it broke"`, messaging.StagingAnswer{Error: "it broke"}},
	} {
		have, err := messaging.StagingStart("s").DecodeAnswer([]byte(test.wire))
		require.NoError(t, err, name)
		assert.Equal(t, test.want, have, name)
	}
}

// What lacks a field without which it means nothing is refused, with the field's name.
func TestWhatIsRefused(t *testing.T) {
	for _, test := range []struct{ subject, wire, field string }{
		{"dea.advertise", `{"stacks":[],"app_id_to_count":{}}`, "id"},
		{"dea.advertise", `{"id":"a.b","stacks":[],"app_id_to_count":{}}`, "id"},
		{"dea.advertise", `{"id":null,"stacks":[],"app_id_to_count":{}}`, "id"},
		{"dea.advertise", `{"id":"a","app_id_to_count":{}}`, "stacks"},
		{"dea.advertise", `{"id":"a","stacks":"lucid64","app_id_to_count":{}}`, "stacks"},
		{"dea.advertise", `{"id":"a","stacks":[]}`, "app_id_to_count"},
		{"dea.advertise", `{"id":"a","stacks":[],"app_id_to_count":[]}`, "app_id_to_count"},
		{"dea.advertise", `{"id":"a","stacks":[],"app_id_to_count":{},"url":7}`, "url"},
		{"dea.start", `{"ip":"10.0.3.7"}`, "id"},
		{"dea.discover", `{"droplet":"a"}`, "limits.mem"},
		{"dea.discover", `{"droplet":"a","limits":{"mem":1}}`, "limits.disk"},
		{"dea.discover", `{"limits":{"mem":1,"disk":1}}`, "droplet"},
		{"dea.update", `{"uris":[]}`, "droplet"},
		{"dea.heartbeat", `{"dea":null,"droplets":[]}`, "dea"},
		{"dea.heartbeat", `{"dea":"a"}`, "droplets"},
		{"dea.heartbeat", `{"dea":"a","droplets":[{"droplet":"a","instance":"i","index":0,"state":"DANCING"}]}`, "droplets[0].state"},
		{"dea.heartbeat", `{"dea":"a","droplets":[{"droplet":"a","instance":"i","index":1.0,"state":"RUNNING"}]}`, "droplets.index"},
		{"droplet.exited", `{"droplet":"a","instance":"i","reason":"CRASHED"}`, "index"},
		{"droplet.exited", `{"droplet":"a","instance":"i","index":0}`, "reason"},
		{"router.register", `{"host":"h","port":1}`, "uris"},
		{"router.register", `{"uris":[],"host":"h","port":8.0}`, "port"},
		{"router.register", `{"uris":[],"host":"h","port":65536}`, "port"},
		{"router.register", `{"uris":[],"host":"h","port":0}`, "port"},
		{"staging.stop", `{"app_id":""}`, "app_id"},
		{"staging", `{"admin_buildpacks":{}}`, "admin_buildpacks"},
		{"buildpacks", `{"key":"a"}`, ""},
		{"vcap.component.announce", `{"type":"DEA","uuid":"a","host":"h"}`, "credentials"},
		{"vcap.component.announce", `{"type":"DEA","uuid":"a","host":"h","credentials":["only"]}`, "credentials"},
	} {
		kind, ok := messaging.KindOf(test.subject)
		require.True(t, ok, test.subject)
		_, err := kind.Decode([]byte(test.wire))
		var refused *messaging.MessageError
		if assert.ErrorAs(t, err, &refused, "%s %s", test.subject, test.wire) {
			assert.Equal(t, test.field, refused.Problems[0].Field, "%s %s: %v", test.subject, test.wire, err)
		}
	}
}
