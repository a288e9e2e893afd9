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
