package node_test

import (
	"bytes"
	"context"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// talk makes a client of the agent at a place, which has the user u with the password p.
func talk(t *testing.T, at node.Place) *client.Client {
	t.Helper()
	way, err := client.NewHTTPS(client.HTTPSConfig{URL: "https://u:p@" + at.Address})
	require.NoError(t, err)
	t.Cleanup(way.Close)
	return client.New(client.Config{Transport: way, PollDelay: time.Millisecond})
}

// The names that a director gives to disks lead to them again when the machine comes up.
func TestNamesOfDisksAfterAStart(t *testing.T) {
	dir := t.TempDir()
	cfg, err := node.Development(dir, "", "https://u:p@127.0.0.1:0")
	require.NoError(t, err)
	at, stop := run(t, cfg)
	agent := talk(t, at)
	require.NoError(t, agent.AddPersistentDisk(t.Context(), "disk-1", "/dev/sdb"))
	require.NoError(t, agent.UpdateSettings(t.Context(), client.UpdateSettings{
		DiskAssociations: []client.DiskAssociation{{Name: "db", CID: "disk-1"}}}))
	require.NoError(t, stop())
	link := filepath.Join(dir, "instance/disks/db")
	require.NoError(t, os.Remove(link))
	run(t, cfg)
	device, err := os.Readlink(link)
	require.NoError(t, err)
	assert.Equal(t, "/dev/sdb", device)
}

// What upload_blob brings is found by its id, and nobody else on the machine can read it.
func TestUploadedBlobs(t *testing.T) {
	dir := t.TempDir()
	cfg, err := node.Development(dir, "", "https://u:p@127.0.0.1:0")
	require.NoError(t, err)
	at, _ := run(t, cfg)
	records := []byte(`{"version":1,"records":[["10.0.0.21","a.example"]]}`)
	sum, err := digest.Of(bytes.NewReader(records), digest.SHA1)
	require.NoError(t, err)
	agent := talk(t, at)
	require.NoError(t, agent.UploadBlob(t.Context(), "dns", sum.String(), records))
	_, err = agent.SyncDNS(t.Context(), "dns", sum.String(), 1)
	require.NoError(t, err)
	hosts, err := os.ReadFile(filepath.Join(dir, "root/etc/hosts"))
	require.NoError(t, err)
	assert.Contains(t, string(hosts), "10.0.0.21 a.example")
	for name, mode := range map[string]fs.FileMode{
		"data/blobs": 0o700, "data/sensitive_blobs": 0o700, "monit": 0o700, "data/sys/log": 0o750, "instance": 0o755,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), name)
	}
}

// A drain for a shutdown tells the health monitor.
func TestShutdownEvent(t *testing.T) {
	server := messagingtest.NewServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := server.Connect()
	events, err := conn.SubscribeSync("hm.agent.shutdown.a")
	require.NoError(t, err)
	require.NoError(t, conn.FlushWithContext(ctx))
	run(t, node.Config{
		Base: t.TempDir(), Source: source(`{}`), Supervisor: node.None, Default: settings.Settings{AgentID: "a", Mbus: server.URL()},
	})
	way, err := client.NewNATS(client.NATSConfig{Conn: server.Connect(), AgentID: "a"})
	require.NoError(t, err)
	defer way.Close()
	agent := client.New(client.Config{Transport: way, PollDelay: time.Millisecond})
	require.NoError(t, agent.WaitUntilReady(ctx))
	_, err = agent.Drain(ctx, "shutdown", nil)
	require.NoError(t, err)
	msg, err := events.NextMsgWithContext(ctx)
	require.NoError(t, err)
	assert.Equal(t, "null", string(msg.Data))
}

// The first heartbeat waits for monit in small steps, and not for one that never answers.
func TestFirstHeartbeatWithoutMonit(t *testing.T) {
	var asked atomic.Int32
	monit := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-r.Context().Done()
	}))
	defer monit.Close()
	server := messagingtest.NewServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := server.Connect()
	beats, err := conn.SubscribeSync("hm.agent.heartbeat.a")
	require.NoError(t, err)
	require.NoError(t, conn.FlushWithContext(ctx))
	run(t, node.Config{
		Base: t.TempDir(), Source: source(`{}`), NoAlerts: true, Default: settings.Settings{AgentID: "a", Mbus: server.URL()},
		Monit: node.MonitConfig{
			Port: monit.Listener.Addr().(*net.TCPAddr).Port, Restart: func(context.Context) error { return nil },
		},
	})
	msg, err := beats.NextMsgWithContext(ctx)
	require.NoError(t, err)
	beat, err := messaging.HMAgentHeartbeat("*").Decode(msg.Data)
	require.NoError(t, err)
	assert.Equal(t, messaging.JobUnknown, beat.JobState)
	assert.Greater(t, asked.Load(), int32(1), "one question that nobody answers would take five seconds")
}

// Without alerts, monit is not told to send any: what an agent before it was told is gone.
func TestNoMailsOfMonit(t *testing.T) {
	base := t.TempDir()
	config := filepath.Join(base, "monit/alerts.monitrc")
	for _, none := range []bool{false, true, true} {
		cfg := node.Config{
			Base: base, Source: source(`{}`), SMTP: "127.0.0.1:0", NoAlerts: none,
			Default: settings.Settings{AgentID: "a", Mbus: "https://u:p@127.0.0.1:0"},
			Monit:   node.MonitConfig{Restart: func(context.Context) error { return nil }}, // it is somebody else's
		}
		_, stop := run(t, cfg)
		if none {
			assert.NoFileExists(t, config)
		} else {
			assert.FileExists(t, config)
		}
		require.NoError(t, stop())
	}
}

// Without alerts, nobody listens for the system log.
func TestNoAlerts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	cfg, err := node.Development(t.TempDir(), "", "https://u:p@127.0.0.1:0")
	require.NoError(t, err)
	cfg.Syslog, cfg.NoAlerts = taken.Addr().String(), true
	at, stop := run(t, cfg)
	require.NoError(t, talk(t, at).Ping(t.Context()))
	require.NoError(t, stop(), "a listener would have failed")
}
