package instance_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

// recordOf is a record as a dea_ng writes it.
func recordOf(state string) string {
	return `{"cc_partition":"default","application_id":"app","application_version":"v1","application_name":"shop",
		"application_uris":["shop.example.com"],"instance_id":"` + strings.Repeat("a", 32) + `","private_instance_id":"` + strings.Repeat("b", 64) + `",
		"instance_index":3,"warden_handle":null,"limits":{"mem":64,"disk":128,"fds":256},"health_check_timeout":null,
		"environment":{"B":"2","A":"1"},"services":[],"droplet_sha1":null,"droplet_uri":null,"start_command":null,"state":"` + state + `",
		"warden_job_id":null,"warden_container_path":null,"warden_host_ip":null,"warden_container_ip":null,
		"instance_host_port":null,"instance_container_port":null,"syslog_drain_urls":[],"state_starting_timestamp":null}`
}

func parseRecord(t *testing.T, text string) (r instance.Record) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &r))
	return r
}

// What is known of an instance goes through the snapshot unchanged.
func TestRecordKeepsTheMessage(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	m := n.message(testapp.Serves)
	m.Stack, m.HealthCheckTimeout, m.StartCommand = "lucid64", 17, "exec x"
	m.Env = []string{"Z=1", "A=$Z"}
	m.EgressNetworkRules = []messaging.EgressRule{{Protocol: "tcp", Ports: "80"}}
	m.VCAPApplication = map[string]json.RawMessage{"space_name": json.RawMessage(`"dev"`)}
	i, err := instance.New(m, n.cfg, n.parts())
	require.NoError(t, err)
	var registry instance.Registry
	registry.Add(i)
	require.True(t, i.Evacuate()) // the one state with a record that needs no run
	path := filepath.Join(t.TempDir(), "instances.json")
	require.NoError(t, registry.Snapshot().WriteFile(path))
	i.Release()

	s, broken, err := instance.ReadSnapshot(path)
	require.NoError(t, err)
	require.Empty(t, broken)
	require.Len(t, s.Instances, 1)
	again, err := instance.Resume(t.Context(), s.Instances[0], n.cfg, n.parts())
	require.NoError(t, err)
	defer again.Release()
	want, err := json.Marshal(i.Message())
	require.NoError(t, err)
	got, err := json.Marshal(again.Message())
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))
	assert.Equal(t, i.Status().ID, again.Status().ID)
	assert.Equal(t, i.PrivateID(), again.PrivateID())
	again.Run(t.Context())
	assert.Equal(t, messaging.Crashed, again.Status().State, "there is no container")
}

func TestResumeWithoutContainer(t *testing.T) {
	for _, tc := range []struct {
		state, description string
		states             []messaging.State
		reserved           int64 // disk in MB, afterwards
	}{
		{"RUNNING", "unknown", []messaging.State{messaging.Resuming, messaging.Crashed}, 128},
		{"EVACUATING", "unknown", []messaging.State{messaging.Resuming, messaging.Crashed}, 128},
		{"STARTING", "failed to start", []messaging.State{messaging.Resuming, messaging.Crashed}, 128},
		{"STOPPING", "", []messaging.State{messaging.Resuming, messaging.Stopping, messaging.Stopped}, 0},
		{"CRASHED", "", nil, 128},
	} {
		t.Run(tc.state, func(t *testing.T) {
			n := newNode(t, testapp.Droplet{})
			i, err := instance.Resume(t.Context(), parseRecord(t, recordOf(tc.state)), n.cfg, n.parts())
			require.NoError(t, err)
			i.Run(t.Context())
			assert.Equal(t, tc.states, n.states(), "a crash that was told is not told again")
			assert.Equal(t, -1, i.Status().ExitStatus)
			assert.Equal(t, tc.description, i.Status().ExitDescription)
			assert.Equal(t, resources.Amount{DiskBytes: tc.reserved << 20}, n.ledger.Reserved())
			assert.Equal(t, []messaging.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}, i.Message().Environment())
			i.Release()
		})
	}
}

// The shell that is to start an app reads to its end when the DEA that tells it how is killed. That is no end of the app.
func TestResumeOfAStartThatWasCut(t *testing.T) {
	n := newNode(t, testapp.Droplet{})
	c, err := n.backend.Create(t.Context(), container.Spec{Properties: map[string]string{instance.OwnerProperty: n.cfg.Owner}})
	require.NoError(t, err)
	shell, err := c.Run(t.Context(), container.ProcessSpec{Path: "/bin/bash"}, container.IO{})
	require.NoError(t, err)
	status, err := shell.Wait(t.Context())
	require.NoError(t, err)
	require.Zero(t, status)
	r := parseRecord(t, recordOf("STARTING"))
	handle, id := c.Handle(), shell.ID()
	r.WardenHandle, r.WardenJobID = &handle, &id
	i, err := instance.Resume(t.Context(), r, n.cfg, n.parts())
	require.NoError(t, err)
	defer i.Release()
	i.Run(t.Context())
	assert.Equal(t, messaging.Crashed, i.Status().State)
	assert.Equal(t, -1, i.Status().ExitStatus)
	assert.Equal(t, "failed to start", i.Status().ExitDescription)
	left, err := n.backend.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestResumeOfACrashKeepsItsFilesAndAge(t *testing.T) {
	n := newNode(t, testapp.Droplet{})
	r := parseRecord(t, recordOf("CRASHED"))
	status := 9
	r.StateAt, r.ExitStatus, r.ExitDescription = messaging.SecondsOf(time.Unix(1393629188, 0)), &status, "out of memory"
	dir := filepath.Join(n.cfg.CrashDir, r.InstanceID)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	i, err := instance.Resume(t.Context(), r, n.cfg, n.parts())
	require.NoError(t, err)
	defer i.Release()
	s := i.Status()
	assert.Equal(t, dir, s.CrashPath)
	assert.EqualValues(t, 1393629188, s.Since.Unix())
	assert.Equal(t, 9, s.ExitStatus)
	assert.Equal(t, "out of memory", s.ExitDescription)
}

// Times that cannot be right neither make an instance centuries old nor keep a crash for ever.
func TestTimesThatMakeNoSense(t *testing.T) {
	n := newNode(t, testapp.Droplet{})
	begun := time.Now()
	for _, seconds := range []messaging.Seconds{-1e300, -1, 0, 1e11, 1e300} {
		for _, state := range []string{"RUNNING", "CRASHED"} {
			r := parseRecord(t, recordOf(state))
			r.StateStartingAt, r.StateAt = &seconds, seconds
			i, err := instance.Resume(t.Context(), r, n.cfg, n.parts())
			require.NoError(t, err)
			i.Run(t.Context())
			assert.WithinRange(t, i.Status().StartedAt, begun, time.Now(), "%s at %g", state, seconds)
			assert.WithinRange(t, i.Status().Since, begun, time.Now(), "%s at %g", state, seconds)
			i.Release()
		}
	}
	i, err := instance.Resume(t.Context(), parseRecord(t, recordOf("RUNNING")), n.cfg, n.parts())
	require.NoError(t, err)
	assert.WithinRange(t, i.Status().StartedAt, begun, time.Now(), "there is none")
	i.Run(t.Context())
	i.Release()
}

func TestResumeCountsWhatDoesNotFit(t *testing.T) {
	n := newNode(t, testapp.Droplet{})
	n.ledger = resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 20, DiskBytes: 1 << 20})
	i, err := instance.Resume(t.Context(), parseRecord(t, recordOf("RUNNING")), n.cfg, n.parts())
	require.NoError(t, err)
	assert.EqualValues(t, -63<<20, n.ledger.Remaining().MemoryBytes)
	i.Run(t.Context())
	i.Release()
}

func TestRecordsThatMakeNoSense(t *testing.T) {
	n := newNode(t, testapp.Droplet{})
	for name, edit := range map[string]func(*instance.Record){
		"path in id":  func(r *instance.Record) { r.InstanceID = "../../etc" },
		"no id":       func(r *instance.Record) { r.InstanceID = "" },
		"private id":  func(r *instance.Record) { r.PrivateInstanceID = "x y" },
		"no app":      func(r *instance.Record) { r.ApplicationID = "" },
		"index":       func(r *instance.Record) { r.InstanceIndex = -1 },
		"limits":      func(r *instance.Record) { r.Limits.Disk = -1 },
		"huge limits": func(r *instance.Record) { r.Limits.Mem = 1 << 62 },
		"state":       func(r *instance.Record) { r.State = "BORN" },
	} {
		r := parseRecord(t, recordOf("RUNNING"))
		edit(&r)
		_, err := instance.Resume(t.Context(), r, n.cfg, n.parts())
		var refused *instance.RecordError
		assert.ErrorAs(t, err, &refused, name)
	}
	assert.Empty(t, n.states())
}

func TestReadSnapshot(t *testing.T) {
	whole := `{"time":1.5,"instances":[` + recordOf("RUNNING") + `],"staging_tasks":[]}`
	for _, tc := range []struct {
		name, text        string
		instances, broken int
		unreadable        bool
	}{
		{"whole", whole, 1, 0, false},
		{"of another era", `{"instances":[` + recordOf("RUNNING") + `],"more":{}}`, 1, 0, false},
		{"one of two broken", `{"instances":[{"instance_index":"x"},` + recordOf("CRASHED") + `]}`, 1, 1, false},
		{"empty", "", 0, 0, false},
		{"blank", " \n", 0, 0, false},
		{"null", "null\n", 0, 0, false},
		{"cut off", whole[:len(whole)-20], 0, 0, true},
		{"cut off inside", whole[:100], 0, 0, true},
		{"text behind", whole + "x", 0, 0, true},
		{"no instances", `{"time":1}`, 0, 0, true},
		{"of something else", `[1,2]`, 0, 0, true},
		{"no json", "PK\x03\x04", 0, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "instances.json")
			require.NoError(t, os.WriteFile(path, []byte(tc.text), 0o600))
			s, broken, err := instance.ReadSnapshot(path)
			var unreadable *instance.SnapshotError
			if tc.unreadable {
				require.ErrorAs(t, err, &unreadable)
				assert.ErrorContains(t, err, path)
				return
			}
			require.NoError(t, err)
			assert.Len(t, s.Instances, tc.instances)
			assert.Len(t, broken, tc.broken)
		})
	}
	_, _, err := instance.ReadSnapshot(filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// Nothing in a snapshot may do more than be refused.
func FuzzSnapshot(f *testing.F) {
	for _, state := range []string{"RUNNING", "STARTING", "STOPPING", "CRASHED", "EVACUATING", "BORN"} {
		f.Add([]byte(`{"instances":[` + recordOf(state) + `]}`))
	}
	f.Add([]byte(`{"instances":null}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "instances.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := instance.ReadSnapshot(path)
		if err != nil {
			return
		}
		for _, r := range s.Instances {
			if r.Check() == nil && strings.ContainsAny(r.InstanceID, "/.") {
				t.Fatalf("id %q", r.InstanceID)
			}
		}
	})
}
