package methods_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/methods"
)

// Boot removes what a process that was killed left half-written, and nothing else.
func TestBoot(t *testing.T) {
	n := run(t, plan{})
	require.NoError(t, n.Apply(t.Context(), map[string]any{"job": map[string]any{"templates": []any{map[string]any{"name": "web"}}}}))
	n.stop()
	n.write("data/tmp/.incoming-x", "half", 0o600)
	n.write("data/tmp/logs-1.tgz", "whole", 0o600)
	n.write("bosh/.incoming-x", "half", 0o600)
	require.NoError(t, os.RemoveAll(n.path("data/sys")))
	n = run(t, plan{base: n.base})
	assert.NoFileExists(t, n.path("data/tmp/.incoming-x"))
	assert.NoFileExists(t, n.path("bosh/.incoming-x"))
	assert.FileExists(t, n.path("data/tmp/logs-1.tgz"))
	assert.DirExists(t, n.path("data/sys/run/web"), "a new machine has none of them")
	mounted, err := n.ListDisk(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"disk-0"}, mounted)
}

// What is in the way is told, and nothing is removed for it.
func TestBootThatFails(t *testing.T) {
	for name, text := range map[string]string{"data/tmp": "clean up temporary files", "data/sensitive_blobs": "clean up blobs", "data/sys": "make directories of jobs"} {
		n := run(t, plan{})
		n.stop()
		require.NoError(t, os.RemoveAll(n.path(name)))
		n.write(name, "{", 0o600)
		err := n.machine.Boot(t.Context())
		assert.ErrorContains(t, err, "boot: "+text, name)
		assert.Equal(t, "{", n.read(name))
	}
	n := run(t, plan{})
	n.stop()
	n.write("settings", strings.Replace(settingsText, "/dev/sdb", "/dev/gone", 1), 0o600)
	assert.ErrorContains(t, n.machine.Boot(t.Context()), "/dev/gone")
}

// A spec that cannot be read is told to whoever asks for it, by an agent that can be given another one.
func TestBootWithASpecThatCannotBeRead(t *testing.T) {
	n := run(t, plan{})
	n.stop()
	n.write("bosh/spec.json", "{", 0o600)
	n = run(t, plan{base: n.base})
	assert.Equal(t, "{", n.read("bosh/spec.json"))
	n.fails("apply the spec again", "get_state")
	require.NoError(t, n.Apply(t.Context(), map[string]any{"deployment": "d"}))
	assert.Contains(t, n.value("get_state"), `"deployment":"d"`)
}

func TestConfigThatCannotWork(t *testing.T) {
	n := run(t, plan{})
	for _, cfg := range []methods.Config{{}, {AgentID: "A"}, {Base: n.base}, {AgentID: "a.b", Base: n.base}} {
		_, err := methods.New(cfg, n.parts)
		assert.ErrorContains(t, err, "a Config needs AgentID and Base")
	}
	for _, forget := range []func(*methods.Parts){
		func(p *methods.Parts) { p.Loader = nil }, func(p *methods.Parts) { p.Settings = nil },
		func(p *methods.Parts) { p.Blobs = nil }, func(p *methods.Parts) { p.Supervisor = nil },
	} {
		parts := n.parts
		forget(&parts)
		_, err := methods.New(methods.Config{AgentID: "A", Base: n.base}, parts)
		assert.ErrorContains(t, err, "Parts need")
	}
}

// What has no part is unknown, as directors take it.
func TestPartsThatAreMissing(t *testing.T) {
	n := run(t, plan{parts: func(p *methods.Parts) {
		p.Disks, p.Hosts, p.Users, p.Sensitive, p.Certs, p.Vitals = nil, nil, nil, nil, nil, nil
	}})
	for _, method := range []string{
		"list_disk", "mount_disk", "unmount_disk", "migrate_disk", "add_persistent_disk", "remove_persistent_disk", "add_dynamic_disk",
		"remove_dynamic_disk", "sync_dns", "sync_dns_with_signed_url", "ssh", "upload_blob",
	} {
		n.fails("unknown message "+method, method)
	}
	assert.NotContains(t, decoded(t, n.value("get_state", "full")), "vitals")
	assert.Equal(t, `"ok"`, n.value("update_settings", map[string]any{"trusted_certs": certificates(t)}), "it is kept")
	assert.Equal(t, `{}`, n.value("delete_arp_entries", map[string]any{"ips": []string{"10.0.0.1"}}))
	assert.Equal(t, "", n.machine.Heartbeat(t.Context()).Deployment)

	ended, end := context.WithCancel(t.Context())
	end()
	other, err := methods.New(methods.Config{AgentID: "A", Base: n.base}, n.parts)
	require.NoError(t, err)
	require.NoError(t, other.Run(ended))
}
