package node_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a node until the test, or stop, ends it.
func run(t *testing.T, cfg node.Config) (at node.Place, stop func() error) {
	t.Helper()
	ready := make(chan node.Place, 1)
	cfg.Ready = func(at node.Place) { ready <- at }
	n, err := node.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() { assert.NoError(t, stop()) })
	select {
	case at = <-ready:
	case err := <-ended:
		ended <- err
		require.NoError(t, err)
	}
	return at, stop
}

// A development agent keeps its password and its certificate.
func TestDevelopment(t *testing.T) {
	dir := t.TempDir()
	var before node.Access
	var certificate []byte
	for round := range 2 {
		cfg, err := node.Development(dir, "me", "https://127.0.0.1:0")
		require.NoError(t, err)
		at, stop := run(t, cfg)
		assert.Equal(t, "me", at.AgentID)
		access, err := node.ReadAccess(dir)
		require.NoError(t, err)
		ca, err := os.ReadFile(access.CA)
		require.NoError(t, err)
		u, err := url.Parse(access.Mbus)
		require.NoError(t, err)
		u.Host = at.Address // the port was drawn
		way, err := client.NewHTTPS(client.HTTPSConfig{URL: u.String(), CA: string(ca), RequireCA: true})
		require.NoError(t, err)
		require.NoError(t, client.New(client.Config{Transport: way}).Ping(t.Context()))
		way.Close()
		if round > 0 {
			assert.Equal(t, before, access)
			assert.Equal(t, certificate, ca)
		}
		before, certificate = access, ca
		require.Eventually(t, func() bool {
			health, err := os.ReadFile(filepath.Join(dir, "instance/health.json"))
			return err == nil && strings.Contains(string(health), `"running"`)
		}, time.Minute, 10*time.Millisecond)
		require.NoError(t, stop())
		assert.NoFileExists(t, filepath.Join(dir, "bosh/agent.pid"))
	}
	_, err := node.ReadAccess(t.TempDir())
	require.ErrorContains(t, err, "start one there first")
}

// source is settings that a test has made.
type source string

func (s source) Settings(context.Context) (*settings.Settings, error) {
	return settings.Parse([]byte(s))
}
func (source) PublicSSHKey(context.Context) (string, error) { return "", nil }

// held is a source that hands out the same object each time.
type held struct{ settings *settings.Settings }

func (h held) Settings(context.Context) (*settings.Settings, error) { return h.settings, nil }
func (held) PublicSSHKey(context.Context) (string, error)           { return "", nil }

// What a source hands out stays as it is.
func TestSettingsAreTheSources(t *testing.T) {
	said := &settings.Settings{}
	run(t, node.Config{Base: t.TempDir(), Source: held{said}, Supervisor: node.None, Default: settings.Settings{
		AgentID: "a", Mbus: "https://u:p@127.0.0.1:0", Blobstore: settings.Blobstore{Provider: "dummy"}}})
	assert.Equal(t, &settings.Settings{}, said)
}

// The first heartbeat comes at once, and what a director set aside is filled in from the defaults.
func TestDefaultsAndHeartbeat(t *testing.T) {
	server := messagingtest.NewServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := server.Connect()
	beats, err := conn.SubscribeSync("hm.agent.heartbeat.by-default")
	require.NoError(t, err)
	require.NoError(t, conn.FlushWithContext(ctx))
	base := t.TempDir()
	at, _ := run(t, node.Config{
		Base: base, Source: source(`{"ntp":["a.example","b.example"],"blobstore":{"provider":"local","options":{}}}`), Supervisor: node.None,
		Default: settings.Settings{AgentID: "by-default", Mbus: server.URL(), Blobstore: settings.Blobstore{
			Provider: "local", Options: map[string]any{"blobstore_path": filepath.Join(base, "blobs")}}},
	})
	assert.Equal(t, node.Place{AgentID: "by-default", Servers: strings.TrimPrefix(server.URL(), "nats://")}, at)
	msg, err := beats.NextMsgWithContext(ctx)
	require.NoError(t, err)
	beat, err := messaging.HMAgentHeartbeat("*").Decode(msg.Data)
	require.NoError(t, err)
	assert.Equal(t, messaging.JobRunning, beat.JobState)
	servers, err := os.ReadFile(filepath.Join(base, "bosh/etc/ntpserver"))
	require.NoError(t, err)
	assert.Equal(t, "a.example b.example\n", string(servers))
}

func TestWhatCannotWork(t *testing.T) {
	_, err := node.New(node.Config{Base: "relative", Supervisor: "pet", Methods: []action.Method{{Name: "bark", Do: "woof"}}})
	for _, said := range []string{"Source is missing", "absolute path", `not "pet"`, "method bark: Do is a string"} {
		require.ErrorContains(t, err, said)
	}
	for _, name := range []string{"ping", "apply", "mount_disk", "upload_blob", "mine"} {
		do := func(context.Context) (string, error) { return "", nil }
		_, err := node.New(node.Config{Source: source("{}"), Methods: []action.Method{{Name: "mine", Do: do}, {Name: name, Do: do}}})
		require.ErrorContains(t, err, "method "+name+" is there twice")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	bus := fmt.Sprintf(`{"agent_id":"a","mbus":"https://u:secret-word@%s"}`, taken.Addr())
	step := errors.New("the machine is on fire")
	for name, test := range map[string]struct {
		source source
		steps  []node.Step
		says   string
	}{
		"no id":         {source: `{"mbus":"nats://127.0.0.1:1"}`, says: "agent's id"},
		"no bus":        {source: `{"agent_id":"a"}`, says: "message bus"},
		"no settings":   {source: `[]`, says: "load settings"},
		"address taken": {source: source(bus), says: "address already in use"},
		"bad store":     {source: `{"agent_id":"a","mbus":"nats://127.0.0.1:1","blobstore":{"provider":"local"}}`, says: "blobstore_path"},
		"step that fails": {source: `{"agent_id":"a","mbus":"nats://127.0.0.1:1"}`, says: "burn: the machine is on fire",
			steps: []node.Step{{Name: "burn", Do: func(context.Context, *settings.Settings) error { return step }}}},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := node.New(node.Config{Base: t.TempDir(), Source: test.source, Machine: test.steps, Supervisor: node.None})
			require.NoError(t, err)
			err = n.Run(t.Context())
			require.ErrorContains(t, err, test.says)
			assert.NotContains(t, err.Error(), "secret-word")
		})
	}
}

// Who finds files that make no sense is told which, and what to do.
func TestFilesThatMakeNoSense(t *testing.T) {
	for _, file := range []struct{ name, content, says string }{
		{"update_settings.json", "{", "remove it"},
		{"update_settings.json", `{"mbus":{"urls":["nonsense"]}}`, "mend mbus in"}, // of an agent that took any
		{"agent.key", "{", "remove both"},
	} {
		dir := t.TempDir()
		cfg, err := node.Development(dir, "", "https://127.0.0.1:0")
		require.NoError(t, err)
		_, stop := run(t, cfg)
		require.NoError(t, stop())
		require.NoError(t, os.WriteFile(filepath.Join(dir, "bosh", file.name), []byte(file.content), 0o600))
		n, err := node.New(cfg)
		require.NoError(t, err)
		err = n.Run(t.Context())
		require.ErrorContains(t, err, filepath.Join(dir, "bosh", file.name))
		require.ErrorContains(t, err, file.says)
	}
}

// A service that cannot go on ends the agent.
func TestServiceThatFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	cfg, err := node.Development(t.TempDir(), "", "https://127.0.0.1:0")
	require.NoError(t, err)
	cfg.Syslog = taken.Addr().String()
	n, err := node.New(cfg)
	require.NoError(t, err)
	require.ErrorContains(t, n.Run(t.Context()), "system log")
}

// A director of either time ends the agent for good, and one of old has its answer before.
func TestShutdown(t *testing.T) {
	for name, legacy := range map[string]bool{"of today": false, "of old": true} {
		t.Run(name, func(t *testing.T) {
			cfg, err := node.Development(t.TempDir(), "", "https://u:p@127.0.0.1:0")
			require.NoError(t, err)
			cfg.Legacy = legacy
			ready := make(chan node.Place, 1)
			cfg.Ready = func(at node.Place) { ready <- at }
			n, err := node.New(cfg)
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() { ended <- n.Run(t.Context()) }()
			way, err := client.NewHTTPS(client.HTTPSConfig{URL: "https://u:p@" + (<-ready).Address})
			require.NoError(t, err)
			defer way.Close()
			require.NoError(t, client.New(client.Config{Transport: way}).Shutdown(t.Context()))
			require.ErrorIs(t, <-ended, node.ErrShutdown)
		})
	}
}

// What is too long for NATS is in the blob store for a director of old, and an exception for one of today.
func TestLongReplies(t *testing.T) {
	server := messagingtest.NewServer(t)
	long := strings.Repeat("x", 2<<20)
	for name, legacy := range map[string]bool{"of-today": false, "of-old": true} {
		t.Run(name, func(t *testing.T) {
			store := t.TempDir()
			run(t, node.Config{
				Base: t.TempDir(), Source: source(`{}`), Supervisor: node.None, Legacy: legacy, Heartbeat: -1,
				Default: settings.Settings{AgentID: name, Mbus: server.URL(), Blobstore: settings.Blobstore{
					Provider: "local", Options: map[string]any{"blobstore_path": store}}},
				Methods: []action.Method{{Name: "talk", Do: func(context.Context) (string, error) { return long, nil }}},
			})
			way, err := client.NewNATS(client.NATSConfig{Conn: server.Connect(), AgentID: name})
			require.NoError(t, err)
			defer way.Close()
			agent := client.New(client.Config{Transport: way})
			require.NoError(t, agent.WaitUntilReady(t.Context()))
			_, err = agent.Call(t.Context(), "talk")
			var remote *client.RemoteError
			require.ErrorAs(t, err, &remote)
			if !legacy {
				assert.Equal(t, "Response exceeded maximum allowed length", remote.Message)
				return
			}
			assert.Equal(t, "message > NATS_MAX_PAYLOAD, stored in blobstore", remote.Message)
			stored, err := os.ReadFile(filepath.Join(store, remote.BlobID))
			require.NoError(t, err)
			assert.Equal(t, `{"value":"`+long+`"}`, string(stored))
		})
	}
}

// A blob store that cannot be opened is refused while there is an agent to say so.
func TestRefusedBlobStore(t *testing.T) {
	dir := t.TempDir()
	cfg, err := node.Development(dir, "", "https://u:p@127.0.0.1:0")
	require.NoError(t, err)
	at, _ := run(t, cfg)
	way, err := client.NewHTTPS(client.HTTPSConfig{URL: "https://u:p@" + at.Address})
	require.NoError(t, err)
	defer way.Close()
	agent := client.New(client.Config{Transport: way, PollDelay: time.Millisecond})
	for says, store := range map[string]any{
		"not found in PATH":         map[string]any{"provider": "nonsense"},
		"missing blobstore_path":    map[string]any{"provider": "local"},
		"endpoint must be a string": map[string]any{"provider": "dav", "options": map[string]any{"endpoint": 3}},
		"replicas must be":          map[string]any{"provider": "nats", "options": map[string]any{"replicas": "x"}},
		"needs a bus of NATS":       map[string]any{"provider": "nats"},
	} {
		mbus := map[string]any{}
		if says == "replicas must be" { // only on the bus that it has
			mbus["urls"] = []string{"nats://10.0.0.7:4222"}
		}
		_, err := agent.Run(t.Context(), "update_settings", map[string]any{"mbus": mbus, "blobstores": []any{store}})
		require.ErrorContains(t, err, says)
	}
	assert.NoFileExists(t, filepath.Join(dir, "bosh/update_settings.json"))
}

func TestSteps(t *testing.T) {
	s, err := settings.Parse([]byte(`{"agent_id":"not_a_host_name","env":{"bosh":{"password":"x:y"}}}`))
	require.NoError(t, err)
	require.ErrorContains(t, node.Hostname(t.TempDir()).Do(t.Context(), s), "cannot be the name of a host")
	require.ErrorContains(t, node.Passwords().Do(t.Context(), s), "no hash")
	require.NoError(t, node.Passwords().Do(t.Context(), &settings.Settings{}), "none is set")

	broken := errors.New("no metadata")
	require.ErrorIs(t, node.Keys("vcap", func(context.Context) (string, error) { return "", broken }).Do(t.Context(), s), broken)
	require.NoError(t, node.Keys("vcap", nil).Do(t.Context(), s), "there is no key")

	script := filepath.Join(t.TempDir(), "rc")
	require.NoError(t, node.Program(script).Do(t.Context(), s), "it is not there")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\necho ran >"+script+".out\n"), 0o755))
	require.NoError(t, node.Program(script).Do(t.Context(), s))
	assert.FileExists(t, script+".out")
}
