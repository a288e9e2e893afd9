package instance

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/messaging"
)

func decodeServices(t *testing.T, wire string) messaging.Services {
	t.Helper()
	var services messaging.Services
	require.NoError(t, json.Unmarshal([]byte(wire), &services))
	return services
}

func TestVCAPServices(t *testing.T) {
	assert.Equal(t, "{}", VCAPServices(nil))
	got := VCAPServices(decodeServices(t, `[
		{"label":"mysql-5.1","name":"b","tags":["x"],"plan":"100","plan_option":null,"credentials":{"password":"$a'\"\\<&>"},"syslog_drain_url":false,"vendor":"v","type":"t","options":{}},
		{"label":"redis","name":"r","credentials":null},
		null,
		{"label":"mysql-5.1","name":"a","tags":{},"plan_option":"po","syslog_drain_url":"syslog://h"}]`))
	assert.Equal(t, `{"mysql-5.1":[{"name":"b","label":"mysql-5.1","tags":["x"],"plan":"100","credentials":{"password":"$a'\"\\<&>"}},`+
		`{"name":"a","label":"mysql-5.1","tags":{},"plan_option":"po","syslog_drain_url":"syslog://h"}],`+
		`"redis":[{"name":"r","label":"redis"}]}`, got)
}

func TestDatabaseURL(t *testing.T) {
	for _, tc := range []struct{ services, want string }{
		{`[]`, ""},
		{`[{"name":"a","label":"l","credentials":{"uri":"mysql://u:p@h/d?x=%20y"}}]`, "mysql2://u:p@h/d?x=%20y"},
		{`[{"name":"a","label":"l","credentials":{"uri":"mysql2://h"}}]`, "mysql2://h"},
		{`[{"name":"a","label":"l","credentials":{"uri":"postgres://h"}}]`, "postgres://h"},
		{`[{"name":"a","label":"l","credentials":{"uri":"postgresql://h"}}]`, "postgres://h"},
		{`[{"name":"a","label":"l","credentials":{"uri":"db2://h"}}]`, "ibmdb://h"},
		{`[{"name":"a","label":"l","credentials":{"uri":"informix://h"}}]`, "ibmdb://h"},
		{`[{"name":"a","label":"l","credentials":{"uri":"redis://h"}},{"name":"b","label":"l","credentials":{"uri":"postgres://[bad%%"}}]`, "postgres://[bad%%"},
		{`[{"name":"a","label":"l","credentials":"text"},{"name":"b","label":"l","credentials":{"uri":7}},{"name":"c","label":"l"}]`, ""},
	} {
		assert.Equal(t, tc.want, DatabaseURL(decodeServices(t, tc.services)), tc.services)
	}
}

func env(t *testing.T, m messaging.StartMessage) map[string]string {
	t.Helper()
	i, err := New(m, Config{}, Parts{
		Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 30, DiskBytes: 1 << 40}), Observe: func(Change) {},
	})
	require.NoError(t, err)
	defer i.Release()
	s := i.Status()
	s.StartedAt = time.Unix(1393629188, 0).UTC()
	s.Container = container.Info{HostIP: "10.0.3.7", Root: "/depot/x/rootfs"}
	s.HostPort, s.Port = 61017, 8080
	vars := map[string]string{}
	for _, entry := range systemEnv(i, s) {
		name, value, _ := strings.Cut(entry, "=")
		require.False(t, slices.Contains([]string{"", vars[name]}, name), "twice: %s", name)
		vars[name] = value
	}
	return vars
}

func TestSystemEnvironment(t *testing.T) {
	m := messaging.StartMessage{
		Droplet: "guid", Index: 3, Name: "shop", Version: "v1", URIs: []string{"shop.example.com"},
		Limits: messaging.Limits{Mem: 256, Disk: 1024, FDs: 99}, Services: messaging.Services{},
	}
	vars := env(t, m)
	for name, want := range map[string]string{
		"VCAP_SERVICES": "{}", "MEMORY_LIMIT": "256m", "HOME": "/depot/x/rootfs/home/vcap/app", "TMPDIR": "/depot/x/rootfs/home/vcap/tmp",
		"VCAP_APP_HOST": "0.0.0.0", "VCAP_APP_PORT": "8080", "PORT": "8080", "CF_INSTANCE_INDEX": "3", "CF_INSTANCE_IP": "10.0.3.7",
		"CF_INSTANCE_PORT": "8080", "CF_INSTANCE_ADDR": "10.0.3.7:8080", "CF_INSTANCE_PORTS": `[{"external":61017,"internal":8080}]`,
	} {
		assert.Equal(t, want, vars[name], name)
	}
	assert.NotContains(t, vars, "DATABASE_URL", "there are no services")

	var app map[string]any
	require.NoError(t, json.Unmarshal([]byte(vars["VCAP_APPLICATION"]), &app))
	assert.Len(t, app["instance_id"], 32)
	delete(app, "instance_id")
	assert.Equal(t, map[string]any{
		"application_id": "guid", "instance_index": 3.0, "host": "0.0.0.0", "port": 8080.0,
		"started_at": "2014-02-28 23:13:08 +0000", "started_at_timestamp": 1393629188.0, "start": "2014-02-28 23:13:08 +0000",
		"state_timestamp": 1393629188.0, "limits": map[string]any{"mem": 256.0, "disk": 1024.0, "fds": 99.0},
		"application_version": "v1", "application_name": "shop", "application_uris": []any{"shop.example.com"},
		"version": "v1", "name": "shop", "uris": []any{"shop.example.com"}, "users": nil,
	}, app)
}

func TestVCAPApplicationOfTheCloudController(t *testing.T) {
	vars := env(t, messaging.StartMessage{
		Droplet: "guid", Name: "ignored", Limits: messaging.Limits{Mem: 1, Disk: 1},
		Services:        decodeServices(t, `[{"name":"r","label":"redis","credentials":{}}]`),
		VCAPApplication: map[string]json.RawMessage{"space_name": json.RawMessage(`"dev"`), "port": json.RawMessage(`1`)},
	})
	var app map[string]any
	require.NoError(t, json.Unmarshal([]byte(vars["VCAP_APPLICATION"]), &app))
	assert.Equal(t, "dev", app["space_name"])
	assert.Equal(t, 8080.0, app["port"], "what the DEA knows wins")
	assert.NotContains(t, app, "application_name")
	assert.Contains(t, vars, "DATABASE_URL", "exported, empty, whenever there are services")
	assert.Empty(t, vars["DATABASE_URL"])
}

func TestEgressRules(t *testing.T) {
	code := 3
	rules, err := EgressRules([]messaging.EgressRule{
		{Protocol: "tcp", Destination: "10.0.0.0/8", Ports: "443", Log: true},
		{Protocol: "tcp", Destination: "10.0.0.0/8", Ports: "80, 8000-8010"},
		{Protocol: "icmp", Type: &code, Code: &code, Ports: "ignored"},
		{Protocol: "all", Destination: "1.2.3.4-5.6.7.8"},
		{Protocol: "udp"},
	})
	require.NoError(t, err)
	assert.Equal(t, []container.EgressRule{
		{Protocol: container.TCP, Network: "10.0.0.0/8", Ports: "80"},
		{Protocol: container.TCP, Network: "10.0.0.0/8", Ports: "8000:8010"},
		{Protocol: container.ICMP, ICMPType: &code, ICMPCode: &code},
		{Protocol: container.AllProtocols, Network: "1.2.3.4-5.6.7.8"},
		{Protocol: container.UDP},
		{Protocol: container.TCP, Network: "10.0.0.0/8", Ports: "443", Log: true},
	}, rules)
	_, err = EgressRules([]messaging.EgressRule{{Protocol: "sctp"}})
	assert.EqualError(t, err, "Invalid protocol in egress rule: sctp")
}

func TestTransitionTable(t *testing.T) {
	for from, list := range Transitions() {
		assert.Equal(t, len(list) == 0, Final(from))
		for _, to := range messaging.States() {
			err := checkTransition(from, to)
			if slices.Contains(list, to) {
				assert.NoError(t, err)
				continue
			}
			assert.EqualError(t, err, `Cannot transition from "`+string(from)+`" to "`+string(to)+`"`)
		}
	}
	assert.True(t, Final(messaging.Crashed) && Final(messaging.Stopped))
}
