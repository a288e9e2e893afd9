package methods_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/agent"
	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/certs"
	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/hosts"
	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/agent/task"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/agent/vitals"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

const settingsText = `{"agent_id":"A","vm":{"name":"vm-17","id":"vm-4711"},"mbus":"nats://10.0.0.6:4222","ntp":[],
 "networks":{"default":{"type":"manual","ip":"10.0.0.21","netmask":"255.255.255.0","gateway":"10.0.0.1","default":["gateway"]},
             "dyn":{"type":"dynamic","ip":"10.1.0.9","netmask":"255.255.0.0","gateway":"10.1.0.1"}},
 "disks":{"persistent":{"disk-0":"/dev/sdb"}}}`

// A plan says how a node differs from the usual one.
type plan struct {
	methods.Config
	base  string // of an agent before; "": a new one
	parts func(*methods.Parts)
	nats  *messagingtest.Server // nil: over HTTPS
	stays bool                  // does not end when a method wants it to
}

// A node is an agent with all its parts in a directory, and a client to it.
type node struct {
	*client.Client
	t        *testing.T
	base     string
	machine  *methods.Machine
	parts    methods.Parts
	director *blobstore.Local // the blob store
	memory   *disk.Memory
	to       client.Transport
	https    *client.HTTPS // nil over NATS
	url      string

	stop    func()
	stopped chan struct{}
	ended   error // why it ended, once it has
}

func (n *node) path(name string) string { return filepath.Join(n.base, name) }

func (n *node) write(name, text string, mode os.FileMode) {
	n.t.Helper()
	require.NoError(n.t, os.MkdirAll(filepath.Dir(n.path(name)), 0o755))
	require.NoError(n.t, os.WriteFile(n.path(name), []byte(text), mode))
}

func (n *node) read(name string) string {
	n.t.Helper()
	data, err := os.ReadFile(n.path(name))
	require.NoError(n.t, err)
	return string(data)
}

// blob puts content into the director's store, and returns its digest.
func (n *node) blob(id string, content []byte) string {
	n.t.Helper()
	require.NoError(n.t, n.director.Put(n.t.Context(), id, bytes.NewReader(content)))
	return sum(n.t, content)
}

func sum(t *testing.T, content []byte) string {
	t.Helper()
	d, err := digest.Of(bytes.NewReader(content), digest.SHA1)
	require.NoError(t, err)
	return d.String()
}

// run starts a node, which ends with the test at the latest.
func run(t *testing.T, p plan) *node {
	t.Helper()
	n := &node{t: t, base: p.base, stopped: make(chan struct{})}
	if n.base == "" {
		n.base = t.TempDir()
		n.write("settings", settingsText, 0o600)
		for _, dir := range []string{"root/etc/logrotate.d", "root/log", "data/blobs"} {
			require.NoError(t, os.MkdirAll(n.path(dir), 0o755))
		}
	}
	dev := n.build(p)
	tr, listening := n.transport(p.nats)
	a, err := agent.New(agent.Config{
		ID: "A", Transports: []transport.Transport{tr}, Methods: n.machine.Methods(),
		Tasks: task.Config{Store: task.NewStore(n.path("bosh/tasks.json"))},
	})
	require.NoError(t, err)
	require.NoError(t, n.machine.Boot(t.Context()))

	ctx, cancel := context.WithCancel(context.Background())
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return dev.Run(running) })
	if !p.stays {
		group.Go(func() error { return n.machine.Run(running) })
	}
	group.Go(func() error { return a.Run(running) })
	go func() { defer close(n.stopped); n.ended = group.Wait() }()
	var once sync.Once
	n.stop = func() { once.Do(cancel); <-n.stopped }
	t.Cleanup(n.stop)
	require.Eventually(t, listening, waitFor, tick)
	require.NoError(t, n.WaitUntilReady(t.Context()))
	require.Eventually(t, func() bool { return dev.Status(ctx).Err == nil }, 20*time.Second, time.Millisecond)
	return n
}

// build makes the machine of real parts.
func (n *node) build(p plan) *supervisor.Dev {
	t := n.t
	t.Helper()
	loader := settings.NewLoader(settings.LoaderConfig{Source: settings.File{Path: n.path("settings")}, Dir: n.path("bosh")})
	loaded, err := loader.Load(t.Context())
	require.NoError(t, err)
	n.director = blobstore.NewLocal(n.path("director"), blobstore.LocalOptions{})
	sensitive := blobstore.NewLocal(n.path("data/sensitive_blobs"), blobstore.LocalOptions{})
	blobs, err := blobstore.NewClient(blobstore.Config{
		Store: n.director, Sent: []*blobstore.Local{sensitive, blobstore.NewLocal(n.path("data/blobs"), blobstore.LocalOptions{})},
		Delay: -1, SignedDelay: -1,
	})
	require.NoError(t, err)
	dev, err := supervisor.NewDev(supervisor.DevConfig{
		Base: n.base, Poll: 10 * time.Millisecond, Backoff: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond,
	})
	require.NoError(t, err)
	n.memory, err = disk.NewMemory(n.path("machine"))
	require.NoError(t, err)
	require.NoError(t, n.memory.Attach("/dev/sdb", 64<<20)) // which is mounted at boot
	disks, err := disk.New(disk.Config{System: n.memory, Resolver: disk.Identity{}, BaseDir: n.base, Settings: loader.Load, UnmountDelay: -1})
	require.NoError(t, err)
	names, err := hosts.New(hosts.Config{Base: n.base, HostsFile: n.path("root/etc/hosts"), Hostname: "A"})
	require.NoError(t, err)
	trusted, err := certs.New(certs.Config{Root: n.path("root")})
	require.NoError(t, err)
	n.parts = methods.Parts{
		Loader: loader, Settings: loaded, Blobs: blobs, Sensitive: sensitive, Supervisor: dev, Disks: disks, Hosts: names,
		Certs: trusted, Vitals: vitals.New(vitals.Config{Unmounted: true, Ephemeral: n.base}),
	}
	if p.parts != nil {
		p.parts(&n.parts)
	}
	p.AgentID, p.Base, p.SystemRoot, p.LogDir = "A", n.base, n.path("root"), n.path("root/log")
	n.machine, err = methods.New(p.Config, n.parts)
	require.NoError(t, err)
	return dev
}

// transport makes that of the agent, and the client. Requests before it listens would be asked a second later only.
func (n *node) transport(nats *messagingtest.Server) (tr transport.Transport, listening func() bool) {
	t := n.t
	t.Helper()
	cfg := client.Config{PollDelay: time.Millisecond}
	defer func() { n.to, n.Client = cfg.Transport, client.New(cfg) }()
	if nats != nil {
		cfg.Protocol = 3 // as the director
		conn := nats.Connect()
		server, err := transport.NewNATS(transport.NATSConfig{Conn: conn, AgentID: "A"})
		require.NoError(t, err)
		c, err := client.NewNATS(client.NATSConfig{Conn: nats.Connect(), AgentID: "A"})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		cfg.Transport = c
		return server, func() bool { return conn.NumSubscriptions() == 1 && conn.Flush() == nil }
	}
	certificates, err := transport.SelfSigned("127.0.0.1")
	require.NoError(t, err)
	secure, err := transport.ServerTLS(certificates)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	root, err := os.OpenRoot(n.path("data/blobs"))
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	put, err := transport.NewDirBlobs(root)
	require.NoError(t, err)
	user := url.UserPassword("vcap", "pw")
	server, err := transport.NewHTTPS(transport.HTTPSConfig{Listener: l, TLS: secure, User: user, Blobs: put, AgentID: "A"})
	require.NoError(t, err)
	n.url = (&url.URL{Scheme: "https", Host: l.Addr().String(), User: user}).String()
	n.https, err = client.NewHTTPS(client.HTTPSConfig{URL: n.url, CA: certificates.CA})
	require.NoError(t, err)
	t.Cleanup(n.https.Close)
	cfg.Transport = n.https
	return server, func() bool { return true }
}

// everywhere runs a test over both transports.
func everywhere(t *testing.T, p plan, test func(*testing.T, *node)) {
	t.Run("https", func(t *testing.T) {
		t.Parallel()
		test(t, run(t, p))
	})
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		over := p
		over.nats = messagingtest.NewServer(t)
		test(t, run(t, over))
	})
}

// value calls a method, waits for its task if there is one, and returns the value's JSON.
func (n *node) value(method string, arguments ...any) string {
	n.t.Helper()
	value, err := n.Run(n.t.Context(), method, arguments...)
	require.NoError(n.t, err, method)
	return string(value)
}

// fails is value for a method that fails.
func (n *node) fails(text, method string, arguments ...any) {
	n.t.Helper()
	_, err := n.Run(n.t.Context(), method, arguments...)
	var remote *client.RemoteError
	if assert.ErrorAs(n.t, err, &remote, "%s %v", method, arguments) {
		assert.Contains(n.t, remote.Message, text, "%s %v", method, arguments)
	}
}

// becomes waits for a job state.
func (n *node) becomes(want messaging.JobState) client.State {
	n.t.Helper()
	var state client.State
	require.Eventually(n.t, func() (is bool) {
		var err error
		state, err = n.State(n.t.Context())
		return err == nil && state.JobState == want
	}, 30*time.Second, 5*time.Millisecond, "%s", want)
	return state
}

func decoded(t *testing.T, text string) (value map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &value), text)
	return value
}

// Tests wait so long for what will be, and look so often.
const (
	waitFor = 30 * time.Second
	tick    = 2 * time.Millisecond
)

func (n *node) machineFile(name string) (os.FileInfo, error) { return os.Lstat(n.path(name)) }
