package settings_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/settings"
)

// composed is the example of the reference.
const composed = `{"agent_id":"3c7c4a2e-9c8e-4a67-9d0a-2f3bb2f9d001","vm":{"name":"vm-17","id":"vm-4711"},
 "mbus":"nats://nats:pw@10.0.0.6:4222","ntp":["0.pool.ntp.org"],
 "blobstore":{"provider":"dav","options":{"endpoint":"http://10.0.0.6:25250","user":"agent","password":"pw"}},
 "networks":{"default":{"type":"manual","ip":"10.0.0.21","netmask":"255.255.255.0","gateway":"10.0.0.1",
   "dns":["10.0.0.2"],"default":["dns","gateway"],"mac":"00:50:56:ab:cd:ef","cloud_properties":{"name":"VM Network"}}},
 "disks":{"system":"0","ephemeral":"1","persistent":{"disk-9a":"2"}},
 "env":{"bosh":{"password":"$6$salt$hash"}}}`

func parse(t *testing.T, text string) *settings.Settings {
	t.Helper()
	s, err := settings.Parse([]byte(text))
	require.NoError(t, err, text)
	return s
}

func TestParse(t *testing.T) {
	s := parse(t, composed)
	assert.Equal(t, "3c7c4a2e-9c8e-4a67-9d0a-2f3bb2f9d001", s.AgentID)
	assert.Equal(t, settings.VM{Name: "vm-17", ID: "vm-4711"}, s.VM)
	assert.Equal(t, "dav", s.Blobstore.Provider)
	assert.Equal(t, "10.0.0.1", s.Networks["default"].Gateway)
	assert.Equal(t, settings.Disk{Path: "1", VolumeID: "1"}, s.Disks.Ephemeral)
	assert.Equal(t, settings.Disk{CID: "disk-9a", Path: "2", VolumeID: "2"}, s.Disks.Persistent["disk-9a"])
	assert.Equal(t, "$6$salt$hash", *s.Env.Bosh.Password)

	// What is not there is nothing, as is null.
	for _, text := range []string{`{}`, `{"vm":null,"ntp":null,"networks":null,"disks":null,"env":null,"blobstore":null,"cert":7}`} {
		s := parse(t, text)
		assert.True(t, s.Disks.Ephemeral.IsZero())
		assert.Nil(t, s.Env.Bosh.Password)
		assert.Nil(t, s.Env.Bosh.SwapSize)
	}
	s = parse(t, `{"networks":{"a":{"ip":null,"default":null,"dns":null}},"env":{"bosh":{"swap_size":0,"password":"","ipv6":{"enable":true},
		"job_dir":{"tmpfs":true,"tmpfs_size":"1m"},"agent":{"settings":{"tmpfs":true}},"parallel":3},"free":{"form":1}}}`)
	assert.Zero(t, *s.Env.Bosh.SwapSize)
	assert.Zero(t, *s.Env.Bosh.Password)
	assert.True(t, s.Env.Bosh.IPv6.Enable && s.Env.Bosh.JobDir.Tmpfs && s.Env.Bosh.Agent.Settings.Tmpfs)
	assert.Equal(t, 3, s.Env.Bosh.Parallel)
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                                   "no JSON object",
		`null`:                               "no JSON object",
		`[]`:                                 "no JSON object",
		`"{}"`:                               "no JSON object",
		`{"agent_id":`:                       "no JSON object",
		`{"agent_id":7}`:                     "agent_id",
		`{"agent_id":"a.b"}`:                 "subjects",
		`{"agent_id":"a b"}`:                 "subjects",
		`{"agent_id":">"}`:                   "subjects",
		`{"networks":{"a":{"ip":7}}}`:        "ip",
		`{"disks":{"ephemeral":7}}`:          "a disk is a string or an object, not a number",
		`{"disks":{"ephemeral":[]}}`:         "not an array",
		`{"disks":{"ephemeral":{"path":7}}}`: "path of a disk must be a string, not a number",
		`{"disks":{"persistent":{"c":{"volume_id":null}}}}`:                  "volume_id of a disk must be a string, not null",
		`{"disks":{"persistent":{"c":{"lun":{}}}}}`:                          "lun of a disk must be a string, not an object",
		`{"disks":{"persistent":{"c":{"iscsi_settings":"x"}}}}`:              "iscsi_settings of a disk must be an object",
		`{"disks":{"persistent":{"c":{"iscsi_settings":{"target":true}}}}}`:  "target of a disk must be a string, not a boolean",
		`{"disks":{"persistent":[]}}`:                                        "persistent",
		fmt.Sprintf(`{"agent_id":"a","x":"%s"}`, strings.Repeat("x", 4<<20)): "at most",
	} {
		_, err := settings.Parse([]byte(text))
		require.ErrorContains(t, err, want, text[:min(len(text), 60)])
	}
}

func TestDisks(t *testing.T) {
	text := `{"path":"/dev/sdf","volume_id":"vol-1","id":"d1","lun":"3","host_device_id":"{aa-bb}","size":7,
		"iscsi_settings":{"initiator_name":"i","username":"u","password":"p","target":"t"}}`
	var d settings.Disk
	require.NoError(t, json.Unmarshal([]byte(text), &d))
	assert.Equal(t, settings.Disk{Path: "/dev/sdf", VolumeID: "vol-1", DeviceID: "d1", Lun: "3", HostDeviceID: "{aa-bb}",
		ISCSI: settings.ISCSI{InitiatorName: "i", Username: "u", Password: "p", Target: "t"}}, d)
	for _, d := range []settings.Disk{d, {}, {Path: "2", VolumeID: "2"}, {DeviceID: "x"}} {
		data, err := json.Marshal(d)
		require.NoError(t, err)
		var back settings.Disk
		require.NoError(t, json.Unmarshal(data, &back))
		assert.Equal(t, d, back)
	}

	s := parse(t, `{"disks":{"ephemeral":{"path":"/dev/sdb"},"persistent":{"c1":"/dev/sdc","c2":{"lun":"0"}},"raw_ephemeral":[{"path":"/dev/xvdba"}]},
		"env":{"persistent_disk_fs":"xfs","persistent_disk_mount_options":["noatime"],"persistent_disk_partitioner":"parted"}}`)
	p, ok := s.PersistentDisk("c1")
	require.True(t, ok)
	assert.Equal(t, settings.PersistentDisk{Disk: settings.Disk{CID: "c1", Path: "/dev/sdc", VolumeID: "/dev/sdc"},
		FileSystem: "xfs", MountOptions: []string{"noatime"}, Partitioner: "parted"}, p)
	_, ok = s.PersistentDisk("c3")
	assert.False(t, ok)
	assert.Equal(t, "/dev/xvdba", s.Disks.RawEphemeral[0].Path)
}

func TestUnknownKeysAreKept(t *testing.T) {
	data, err := parse(t, composed).JSON()
	require.NoError(t, err)
	assert.Equal(t, composed, string(data))

	made := &settings.Settings{AgentID: "a", Disks: settings.Disks{Persistent: map[string]settings.Disk{"c": {Path: "/dev/sdc"}}}}
	data, err = made.JSON()
	require.NoError(t, err)
	assert.Equal(t, "/dev/sdc", parse(t, string(data)).Disks.Persistent["c"].Path)
}

func TestSecretsAreNotLogged(t *testing.T) {
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "settings", parse(t, composed))
	assert.Contains(t, log.String(), "settings=3c7c4a2e")
	assert.NotContains(t, log.String(), "pw")
}

func TestDHCP(t *testing.T) {
	static := settings.Network{IP: "10.0.0.2", Netmask: "255.0.0.0"}
	with := func(change func(*settings.Network)) settings.Network {
		n := static
		change(&n)
		return n
	}
	assert.False(t, static.DHCP())
	for want, networks := range map[bool][]settings.Network{
		true: {
			with(func(n *settings.Network) { n.Type = "dynamic" }), with(func(n *settings.Network) { n.UseDHCP = true }),
			with(func(n *settings.Network) { n.Resolved = true }), with(func(n *settings.Network) { n.IP = "" }),
			with(func(n *settings.Network) { n.Netmask = "" }), {Type: "manual"},
		},
		false: {{Type: "vip"}, {Type: "vip", UseDHCP: true}, with(func(n *settings.Network) { n.Type = "manual" })},
	} {
		for _, n := range networks {
			assert.Equal(t, want, n.DHCP(), "%+v", n)
		}
	}
}

func TestDefaultNetwork(t *testing.T) {
	type networks = settings.Networks
	gateway, dns := []string{"gateway"}, []string{"dns"}
	for name, test := range map[string]struct {
		networks networks
		ip       string
	}{
		"none":              {networks{}, ""},
		"no address":        {networks{"a": {Default: gateway}}, ""},
		"the only one":      {networks{"a": {IP: "1"}}, "1"},
		"some default":      {networks{"a": {IP: "1"}, "b": {IP: "2", Default: dns}}, "2"},
		"gateway first":     {networks{"a": {IP: "1", Default: dns}, "b": {IP: "2", Default: gateway}}, "2"},
		"then by name":      {networks{"c": {IP: "3", Default: gateway}, "b": {IP: "2", Default: gateway}, "a": {IP: "1"}}, "2"},
		"any, by name":      {networks{"b": {IP: "2"}, "a": {IP: "1"}}, "1"},
		"one without an ip": {networks{"a": {Default: gateway}, "b": {IP: "2"}}, "2"},
	} {
		for range 20 { // maps have no order
			ip, ok := test.networks.DefaultIP()
			require.Equal(t, test.ip, ip, name)
			require.Equal(t, ip != "", ok, name)
		}
	}
	_, ok := networks{"a": {}, "b": {}}.DefaultFor("dns")
	assert.False(t, ok)
	n, ok := networks{"a": {IP: "1"}}.DefaultFor("dns")
	assert.True(t, ok)
	assert.Equal(t, "1", n.IP)
	n, _ = networks{"a": {IP: "1"}, "b": {IP: "2", Default: dns}, "c": {IP: "3", Default: dns}}.DefaultFor("dns")
	assert.Equal(t, "2", n.IP)
}

func TestPrecedence(t *testing.T) {
	cert := func(ca string) settings.Cert { return settings.Cert{CA: ca, Certificate: "c-" + ca} }
	type update = settings.Update
	const all = `{"mbus":"top","ntp":["top"],"blobstore":{"provider":"top"},"env":{"bosh":{"ntp":[],
		"mbus":{"urls":["env1","env2"],"cert":{"ca":"env","certificate":"c-env"}},"blobstores":[{"provider":"env"},{"provider":"env2"}]}}}`
	for name, test := range map[string]struct {
		document string
		update   update
		want     settings.Effective
	}{
		"nothing": {`{}`, update{}, settings.Effective{}},
		"top": {`{"mbus":"top","ntp":["top"],"blobstore":{"provider":"top"}}`, update{}, settings.Effective{
			MbusURLs: []string{"top"}, NTP: []string{"top"}, Blobstore: settings.Blobstore{Provider: "top"}}},
		"env": {all, update{}, settings.Effective{
			MbusURLs: []string{"env1", "env2"}, MbusCert: cert("env"), NTP: []string{}, Blobstore: settings.Blobstore{Provider: "env"}}},
		"empty lists in env": {`{"mbus":"top","blobstore":{"provider":"top"},"env":{"bosh":{"mbus":{"urls":[]},"blobstores":[]}}}`, update{},
			settings.Effective{MbusURLs: []string{"top"}, Blobstore: settings.Blobstore{Provider: "top"}}},
		"update": {all, update{Mbus: settings.Mbus{URLs: []string{"up"}, Cert: cert("up")}, Blobstores: []settings.Blobstore{{Provider: "up"}}},
			settings.Effective{MbusURLs: []string{"up"}, MbusCert: cert("up"), NTP: []string{}, Blobstore: settings.Blobstore{Provider: "up"}}},
		"each on its own": {all, update{Mbus: settings.Mbus{Cert: cert("up")}}, settings.Effective{
			MbusURLs: []string{"env1", "env2"}, MbusCert: cert("up"), NTP: []string{}, Blobstore: settings.Blobstore{Provider: "env"}}},
		"update without a CA": {all, update{Mbus: settings.Mbus{URLs: []string{"up"}, Cert: settings.Cert{Certificate: "x"}}}, settings.Effective{
			MbusURLs: []string{"up"}, MbusCert: cert("env"), NTP: []string{}, Blobstore: settings.Blobstore{Provider: "env"}}},
	} {
		assert.Equal(t, test.want, parse(t, test.document).Effective(test.update), name)
	}
}

func TestMerge(t *testing.T) {
	mbus := settings.Mbus{URLs: []string{"nats://a"}, Cert: settings.Cert{CA: "ca"}}
	blobs := []settings.Blobstore{{Provider: "dav", Options: map[string]any{"endpoint": "http://a"}}}
	stored := settings.Update{Mbus: mbus, Blobstores: blobs, TrustedCerts: "old", DiskAssociations: []settings.DiskAssociation{{Name: "d", CID: "c"}}}
	other := settings.Mbus{URLs: []string{"nats://b"}}
	for name, test := range map[string]struct {
		next    settings.Update
		want    settings.Update
		restart bool
	}{
		"only certificates": {settings.Update{TrustedCerts: "new"}, settings.Update{Mbus: mbus, Blobstores: blobs, TrustedCerts: "new"}, false},
		"the same again":    {stored, stored, false},
		"other bus":         {settings.Update{Mbus: other}, settings.Update{Mbus: other, Blobstores: blobs}, true},
		"other blobs": {settings.Update{Blobstores: []settings.Blobstore{{Provider: "s3"}}},
			settings.Update{Mbus: mbus, Blobstores: []settings.Blobstore{{Provider: "s3"}}}, true},
		"no blobs any more": {settings.Update{Blobstores: []settings.Blobstore{}},
			settings.Update{Mbus: mbus, Blobstores: []settings.Blobstore{}}, true},
	} {
		merged, restart := stored.Merge(test.next)
		assert.Equal(t, test.want, merged, name)
		assert.Equal(t, test.restart, restart, name)
	}
	_, restart := settings.Update{}.Merge(settings.Update{Blobstores: []settings.Blobstore{}})
	assert.False(t, restart, "an empty list where there was none changes nothing")
}

func FuzzParse(f *testing.F) {
	f.Add(composed)
	f.Add(`{"disks":{"ephemeral":null,"persistent":{"a":{"id":"x"}}},"networks":{"n":{"type":"vip"}}}`)
	f.Add(`{"env":{"bosh":{"ntp":null,"swap_size":1}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := settings.Parse([]byte(text))
		if err != nil {
			return
		}
		for cid, disk := range s.Disks.Persistent {
			require.Equal(t, cid, disk.CID)
		}
		_, _ = s.Networks.DefaultIP()
		kept, err := s.JSON()
		require.NoError(t, err)
		require.Equal(t, text, string(kept))
		// What the fields hold can be written and read again.
		data, err := json.Marshal(s)
		require.NoError(t, err)
		_, err = settings.Parse(data)
		require.NoError(t, err)
	})
}
