package methods_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func certificates(t *testing.T) string {
	t.Helper()
	c, err := transport.SelfSigned("127.0.0.1")
	require.NoError(t, err)
	return c.CA
}

// trusted are the files with certificates.
func (n *node) trusted() []string {
	n.t.Helper()
	names, err := filepath.Glob(n.path("root/usr/local/share/ca-certificates/*"))
	require.NoError(n.t, err)
	for i, name := range names {
		names[i] = filepath.Base(name)
	}
	return names
}

// Certificates and names of disks count at once.
func TestUpdateSettingsWithoutRestart(t *testing.T) {
	n := run(t, plan{})
	ca := certificates(t)
	require.NoError(t, n.UpdateSettings(t.Context(), client.UpdateSettings{
		TrustedCerts: ca + "\n# another one\n" + ca, DiskAssociations: []client.DiskAssociation{{Name: "db", CID: "disk-0"}},
	}))
	assert.Equal(t, []string{"bosh-trusted-cert-1.crt", "bosh-trusted-cert-2.crt"}, n.trusted())
	block, _ := pem.Decode([]byte(n.read("root/usr/local/share/ca-certificates/bosh-trusted-cert-2.crt")))
	require.NotNil(t, block)
	device, err := os.Readlink(n.path("instance/disks/db"))
	require.NoError(t, err)
	assert.Equal(t, "/dev/sdb", device)

	n.fails("PEM", "update_settings", map[string]any{"trusted_certs": "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n"})
	assert.Len(t, n.trusted(), 2, "nothing has changed")
	n.fails("could not be found", "update_settings", map[string]any{"disk_associations": []any{map[string]any{"name": "x", "cid": "gone"}}})
	n.fails("argument 1 does not fit: mbus must be an object, not a string", "update_settings", map[string]any{"mbus": "nats://user:secret@host"})
	n.fails("argument 1 does not fit: mbus.urls must be an array, not a string", "update_settings", map[string]any{"mbus": map[string]any{"urls": "nats://h"}})
	assert.Equal(t, `"ok"`, n.value("update_settings", map[string]any{"trusted_certs": "", "disk_associations": []any{}, "mbus": map[string]any{}, "blobstores": nil}))
	assert.Empty(t, n.trusted())
	assert.NoFileExists(t, n.path("instance/disks/db"))
	select {
	case <-n.stopped:
		assert.Fail(t, "it restarts", n.ended)
	default:
	}
}

// What is refused is not kept, not even the part of it that is right: the next process could not start with it.
func TestRefusedSettingsAreNotKept(t *testing.T) {
	n := run(t, plan{})
	require.NoError(t, n.UpdateSettings(t.Context(), client.UpdateSettings{TrustedCerts: certificates(t)}))
	kept := n.read("bosh/update_settings.json")
	gone := []any{map[string]any{"name": "x", "cid": "gone"}}
	n.fails("could not be found", "update_settings", map[string]any{"disk_associations": gone})
	n.fails("could not be found", "update_settings", map[string]any{"disk_associations": gone, "mbus": map[string]any{"urls": []string{"nats://10.0.0.7:4222"}}})
	n.fails("no id of a disk", "update_settings", map[string]any{"disk_associations": []any{map[string]any{"name": "../x", "cid": "disk-0"}}})
	n.fails("not found in PATH", "update_settings", map[string]any{"blobstores": []any{map[string]any{"provider": "x"}}})
	assert.Equal(t, kept, n.read("bosh/update_settings.json"))
	assert.Len(t, n.trusted(), 1)
}

// Another bus ends the process. Who asks on has "ok" from the next one, in which it counts.
func TestUpdateSettingsWithRestart(t *testing.T) {
	srv := messagingtest.NewServer(t)
	n := run(t, plan{nats: srv})
	tr, err := client.NewNATS(client.NATSConfig{Conn: srv.Connect(), AgentID: "A", Timeout: 300 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(tr.Close)
	c := client.New(client.Config{Transport: tr, PollDelay: time.Millisecond, Tolerate: 100000})
	update := client.UpdateSettings{TrustedCerts: certificates(t), Mbus: &client.Mbus{URLs: []string{"nats://10.0.0.7:4222"}}}
	task, err := c.Start(t.Context(), "update_settings", update)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // it is at work
		kept, err := n.parts.Loader.Update()
		return err == nil && len(kept.Mbus.URLs) == 1
	}, 20*time.Second, time.Millisecond)
	<-n.stopped
	require.ErrorIs(t, n.ended, methods.ErrRestart)
	assert.Empty(t, n.trusted())

	again := run(t, plan{nats: srv, base: n.base})
	value, err := task.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, `"ok"`, string(value))
	assert.Len(t, again.trusted(), 1, "the rest of it is done")
	kept, err := again.parts.Loader.Update()
	require.NoError(t, err)
	assert.Equal(t, []string{"nats://10.0.0.7:4222"}, again.parts.Settings.Effective(kept).MbusURLs)

	require.NoError(t, again.UpdateSettings(t.Context(), update), "the same once more restarts nothing")
	var tasks map[string]any
	require.NoError(t, json.Unmarshal([]byte(again.read("bosh/tasks.json")), &tasks))
	assert.Empty(t, tasks)
	require.NoError(t, again.Apply(t.Context(), map[string]any{}))
}

// A gate holds those up who look for a device, once it is closed.
type gate struct {
	disk.Identity
	closed  atomic.Bool
	waiting chan struct{} // gets one for each of them
	open    chan struct{}
}

func (g *gate) Resolve(ctx context.Context, d settings.Disk) (string, error) {
	if g.closed.Load() {
		g.waiting <- struct{}{}
		<-g.open
	}
	return g.Identity.Resolve(ctx, d)
}

// Two changes that are right, each by itself, do not get by each other: the next process could not start with both.
func TestUpdatesThatDoNotFitTogether(t *testing.T) {
	slow := &gate{waiting: make(chan struct{}, 10), open: make(chan struct{})}
	n := run(t, plan{stays: true, parts: func(p *methods.Parts) {
		memory, err := disk.NewMemory(filepath.Join(t.TempDir(), "machine"))
		require.NoError(t, err)
		require.NoError(t, memory.Attach("/dev/sdb", 64<<20))
		p.Disks, err = disk.New(disk.Config{
			System: memory, Resolver: slow, BaseDir: t.TempDir(), Settings: p.Loader.Load, UnmountDelay: -1,
		})
		require.NoError(t, err)
	}})
	slow.closed.Store(true)
	_, err := n.Start(t.Context(), "update_settings", map[string]any{
		"mbus":              map[string]any{"urls": []string{"https://10.0.0.7:6868"}},
		"disk_associations": []any{map[string]any{"name": "db", "cid": "disk-0"}},
	})
	require.NoError(t, err)
	<-slow.waiting
	second, err := n.Start(t.Context(), "update_settings", map[string]any{"blobstores": []any{map[string]any{"provider": "nats"}}})
	require.NoError(t, err)
	for range 50 { // time enough for it to get by
		_, _, err = second.Get(t.Context())
		require.NoError(t, err)
	}
	close(slow.open)
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	_, err = second.Wait(ctx)
	require.ErrorContains(t, err, `"nats" needs a bus of NATS; nothing was changed`)
	kept, err := n.parts.Loader.Update()
	require.NoError(t, err)
	assert.Len(t, kept.Mbus.URLs, 1)
	assert.Empty(t, kept.Blobstores)
}

// A bus with which the agent could not begin again is refused while somebody can tell another one, and without its secrets.
func TestUpdateSettingsWithABusThatCannotWork(t *testing.T) {
	n := run(t, plan{})
	good, err := transport.SelfSigned("10.0.0.7")
	require.NoError(t, err)
	other, err := transport.SelfSigned("10.0.0.7")
	require.NoError(t, err)
	cert := func(ca, certificate, key string) map[string]any {
		return map[string]any{"ca": ca, "certificate": certificate, "private_key": key}
	}
	for _, c := range []struct {
		says string
		mbus map[string]any
	}{
		{"scheme", map[string]any{"urls": []string{"http://vcap:secret-word@10.0.0.7:80"}}},
		{"want nats://", map[string]any{"urls": []string{"nats://vcap:secret-word@10.0.0.7:port"}}},
		{"want nats://", map[string]any{"urls": []string{"nats://10.0.0.7:4222", ""}}},
		{"want nats://", map[string]any{"urls": []string{"nonsense"}}},
		{"want nats://", map[string]any{"urls": []string{"nats://10.0.0.7:4222,nonsense"}}},
		{"want nats://", map[string]any{"urls": []string{"nonsense:4222"}}},
		{"65535", map[string]any{"urls": []string{"nats://10.0.0.7:99999"}}},
		{"want nats://", map[string]any{"urls": []string{"nats://"}}},
		{"with a port", map[string]any{"urls": []string{"https://vcap:secret-word@10.0.0.7"}}},
		{"either https://", map[string]any{"urls": []string{"nats://10.0.0.7:4222", "https://10.0.0.7:1"}}},
		{"Parsing certificate and private key", map[string]any{"cert": cert(good.CA, good.Certificate, other.PrivateKey)}},
		{"Parsing certificate and private key", map[string]any{"cert": cert(good.CA, "", "")}},
		{"Parsing CA certificate", map[string]any{"urls": []string{"nats://10.0.0.7:4222"}, "cert": cert("no PEM", good.Certificate, good.PrivateKey)}},
		{"Parsing CA certificate", map[string]any{"urls": []string{"https://10.0.0.7:1"}, "cert": cert("x", "", "")}},
		{"Loading configured tls certificate", map[string]any{"urls": []string{"https://10.0.0.7:1"}, "cert": cert(good.CA, good.Certificate, "secret-word")}},
	} {
		_, err := n.Run(t.Context(), "update_settings", map[string]any{"trusted_certs": certificates(t), "mbus": c.mbus})
		require.ErrorContains(t, err, c.says)
		assert.ErrorContains(t, err, "nothing was changed")
		assert.NotContains(t, err.Error(), "secret-word")
		assert.NoFileExists(t, n.path("bosh/update_settings.json"))
		assert.Empty(t, n.trusted())
	}
	for says, options := range map[string]map[string]any{
		"missing blobstore_path": {}, "blobstore_path": {"blobstore_path": 5}, "endpoint": {"password": "secret-word"},
	} {
		store := map[string]any{"provider": "local", "options": options}
		if says == "endpoint" {
			store["provider"] = "dav"
		}
		_, err := n.Run(t.Context(), "update_settings", map[string]any{"blobstores": []any{store}})
		require.ErrorContains(t, err, says)
		assert.ErrorContains(t, err, "nothing was changed")
		assert.NotContains(t, err.Error(), "secret-word")
	}
	assert.NoFileExists(t, n.path("bosh/update_settings.json"))
}

// Nothing that changes the machine begins while the process is about to end.
func TestNothingBeginsBeforeTheEnd(t *testing.T) {
	n := run(t, plan{stays: true})
	for range 2 {
		assert.Equal(t, `"ok"`, n.value("prepare_configure_networks"))
		n.fails("restarting agent", "apply", map[string]any{})
		n.fails("restarting agent", "start")
		n.becomes("running")
	}
}

// A director of 2014 looks for true.
func TestNetworkChangeOfOld(t *testing.T) {
	n := run(t, plan{Config: methods.Config{Legacy: true}})
	assert.Equal(t, `true`, n.value("prepare_network_change"))
	<-n.stopped
	require.ErrorIs(t, n.ended, methods.ErrRestart)
}

// The methods of before 2018 end the process too.
func TestNetworksOfOld(t *testing.T) {
	n := run(t, plan{})
	n.write("root/etc/udev/rules.d/70-persistent-net.rules", "x", 0o644)
	assert.Equal(t, `"ok"`, n.value("prepare_network_change"))
	assert.NoFileExists(t, n.path("bosh/settings.json"))
	assert.NoFileExists(t, n.path("root/etc/udev/rules.d/70-persistent-net.rules"))
	<-n.stopped
	require.ErrorIs(t, n.ended, methods.ErrRestart)

	n = run(t, plan{base: n.base})
	assert.FileExists(t, n.path("bosh/settings.json"))
	task, err := n.Start(t.Context(), "configure_networks")
	require.NoError(t, err)
	<-n.stopped
	require.ErrorIs(t, n.ended, methods.ErrRestart)
	n = run(t, plan{base: n.base})
	value, err := n.Client.Resume("configure_networks", task.ID).Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, `"ok"`, string(value))

	n.fails("apply_spec.yml", "release_apply_spec")
	n.write("micro/apply_spec.yml", "deployment: micro\njob: {name: a}\n", 0o644)
	assert.JSONEq(t, `{"deployment":"micro","job":{"name":"a"}}`, n.value("release_apply_spec"))
	n.write("micro/apply_spec.json", `{"deployment":"json"}`, 0o644)
	assert.JSONEq(t, `{"deployment":"json"}`, n.value("release_apply_spec"))
}
