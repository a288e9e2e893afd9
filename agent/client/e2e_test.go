package client_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent"
	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// methods stand in for those of a machine.
func methods() []action.Method {
	return []action.Method{
		{Name: "mount_disk", Async: true, Do: func(_ context.Context, cid string) (struct{}, error) {
			if cid != "disk-9a" {
				return struct{}{}, errors.New("Persistent disk with volume id '" + cid + "' could not be found")
			}
			return struct{}{}, nil
		}},
		{Name: "run_errand", Async: true, Cancellable: true, Do: func(ctx context.Context, _ *string) (map[string]any, error) {
			<-ctx.Done()
			return map[string]any{"exit_code": 143}, nil
		}},
		{Name: "remove_file", Do: func(_ context.Context, path string) (string, error) { return path, nil }},
	}
}

// work runs an agent until the test ends.
func work(t testing.TB, transports ...transport.Transport) {
	t.Helper()
	a, err := agent.New(agent.Config{ID: "A", Transports: transports, Methods: methods()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
}

// overHTTPS is an agent over HTTPS and a transport to it.
func overHTTPS(t testing.TB, keys *seal.Keys) *client.HTTPS {
	t.Helper()
	certificates, err := transport.SelfSigned("127.0.0.1")
	require.NoError(t, err)
	secure, err := transport.ServerTLS(certificates)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	blobs, err := transport.NewDirBlobs(root)
	require.NoError(t, err)
	h, err := transport.NewHTTPS(transport.HTTPSConfig{
		Listener: l, TLS: secure, User: url.UserPassword("vcap", "p:w@"), Blobs: blobs, Keys: keys, AgentID: "A",
	})
	require.NoError(t, err)
	work(t, h)
	to := url.URL{Scheme: "https", Host: l.Addr().String(), User: url.UserPassword("vcap", "p:w@")}
	c, err := client.NewHTTPS(client.HTTPSConfig{URL: to.String(), CA: certificates.CA, Keys: keys, AgentID: "A"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// overNATS is an agent over NATS and a transport to it.
func overNATS(t testing.TB, keys *seal.Keys) *client.NATS {
	t.Helper()
	srv := messagingtest.NewServer(t)
	conn := srv.Connect()
	n, err := transport.NewNATS(transport.NATSConfig{Conn: conn, AgentID: "A", Keys: keys})
	require.NoError(t, err)
	work(t, n)
	c, err := client.NewNATS(client.NATSConfig{Conn: srv.Connect(), AgentID: "A", Keys: keys})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.Eventually(t, func() bool { return conn.NumSubscriptions() == 1 && conn.Flush() == nil }, 20*time.Second, time.Millisecond)
	return c
}

// An agent that is started again numbers its replies anew, from anywhere. At most one of them is lost for it.
func TestEncryptionWhenTheAgentIsStartedAgain(t *testing.T) {
	keys := &seal.Keys{Crypt: "Y3J5cHQta2V5LWZvci10ZXN0", Sign: "c2lnbi1rZXktZm9yLXRlc3Q="}
	srv := messagingtest.NewServer(t)
	way, err := client.NewNATS(client.NATSConfig{Conn: srv.Connect(), AgentID: "A", Keys: keys})
	require.NoError(t, err)
	t.Cleanup(way.Close)
	c := client.New(client.Config{Transport: way, PollDelay: time.Millisecond})
	for range 20 { // numbers that rise twenty times by chance do not happen
		conn := srv.Connect()
		tr, err := transport.NewNATS(transport.NATSConfig{Conn: conn, AgentID: "A", Keys: keys})
		require.NoError(t, err)
		a, err := agent.New(agent.Config{ID: "A", Transports: []transport.Transport{tr}})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		require.Eventually(t, func() bool { return conn.NumSubscriptions() == 1 && conn.Flush() == nil }, 20*time.Second, time.Millisecond)
		if err := c.Ping(t.Context()); err != nil {
			require.ErrorIs(t, err, seal.ErrSequence)
			require.NoError(t, c.Ping(t.Context()))
		}
		cancel()
		require.NoError(t, <-ended)
	}
}

// The client and the agent understand each other over every transport.
func TestEndToEnd(t *testing.T) {
	keys := &seal.Keys{Crypt: "Y3J5cHQta2V5LWZvci10ZXN0", Sign: "c2lnbi1rZXktZm9yLXRlc3Q="}
	for name, tr := range map[string]client.Transport{
		"https": overHTTPS(t, nil), "https encrypted": overHTTPS(t, keys), "nats": overNATS(t, nil), "nats encrypted": overNATS(t, keys),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			a := client.New(client.Config{Transport: tr, PollDelay: time.Millisecond, Protocol: 3})
			require.NoError(t, a.WaitUntilReady(ctx))
			info, err := a.Info(ctx)
			require.NoError(t, err)
			assert.Equal(t, 1, info.APIVersion)
			require.NoError(t, a.MountDisk(ctx, "disk-9a"))
			err = a.MountDisk(ctx, "gone")
			assert.ErrorContains(t, err, "result: Persistent disk with volume id 'gone' could not be found")
			assert.ErrorIs(t, a.Shutdown(ctx), client.ErrUnsupported)
			_, _, err = a.Resume("apply", "X").Get(ctx)
			assert.ErrorIs(t, err, client.ErrUnknownTask)

			errand, err := a.StartErrand(ctx, "")
			require.NoError(t, err)
			require.NoError(t, errand.Cancel(ctx))
			_, err = errand.Wait(ctx)
			if err != nil { // it was cancelled before a worker had it
				require.ErrorContains(t, err, "Task was cancelled by user request")
			}
			long := strings.Repeat("ä<\n", 40000)
			value, err := a.Call(ctx, "remove_file", long)
			require.NoError(t, err)
			assert.Greater(t, len(value), 120000)

			// Many at a time, each with its own answer.
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					assert.NoError(t, a.MountDisk(ctx, "disk-9a"))
					assert.Error(t, a.MountDisk(ctx, "gone"))
				})
			}
			wg.Wait()
		})
	}
}

func TestBlobsOverHTTPS(t *testing.T) {
	c := overHTTPS(t, nil)
	require.NoError(t, c.PutBlob(t.Context(), "a.tgz", strings.NewReader("content")))
	blob, err := c.GetBlob(t.Context(), "a.tgz")
	require.NoError(t, err)
	defer blob.Close()
	data, err := io.ReadAll(blob)
	require.NoError(t, err)
	assert.Equal(t, "content", string(data))
	_, err = c.GetBlob(t.Context(), "gone")
	var status *client.StatusError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, 404, status.Code)
	require.ErrorAs(t, c.PutBlob(t.Context(), "tmp", strings.NewReader("")), &status)
}

// A certificate that nobody vouches for is not waited for.
func TestStrangeCertificate(t *testing.T) {
	other, err := transport.SelfSigned("127.0.0.1")
	require.NoError(t, err)
	block, _ := pem.Decode([]byte(other.CA))
	_, err = x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	certificates, err := transport.SelfSigned("127.0.0.1")
	require.NoError(t, err)
	secure, err := transport.ServerTLS(certificates)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h, err := transport.NewHTTPS(transport.HTTPSConfig{Listener: l, TLS: secure})
	require.NoError(t, err)
	work(t, h)
	for ca, want := range map[string]bool{other.CA: false, certificates.CA: true, "": true} {
		c, err := client.NewHTTPS(client.HTTPSConfig{URL: "https://" + l.Addr().String(), CA: ca})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		err = client.New(client.Config{Transport: c}).WaitUntilReady(t.Context())
		assert.Equal(t, want, err == nil, err)
	}
}

func TestNobodyOnNATS(t *testing.T) {
	srv := messagingtest.NewServer(t)
	c, err := client.NewNATS(client.NATSConfig{Conn: srv.Connect(), AgentID: "nobody"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	err = client.New(client.Config{Transport: c}).Ping(t.Context())
	require.ErrorIs(t, err, client.ErrNobody)
	assert.ErrorContains(t, err, "nobody takes requests as nobody")

	// A task of one that restarts is asked for until somebody answers.
	var failed atomic.Int32
	agent := srv.Connect()
	var back *nats.Subscription
	waiting := client.New(client.Config{Transport: c, PollDelay: time.Millisecond, Tolerate: 1, Progress: func(p client.Progress) {
		if !errors.Is(p.Err, client.ErrNobody) || failed.Add(1) != 5 {
			return
		}
		var err error
		back, err = agent.Subscribe("agent.nobody", func(msg *nats.Msg) {
			var request messaging.AgentRequest
			if assert.NoError(t, json.Unmarshal(msg.Data, &request)) {
				assert.NoError(t, agent.Publish(request.ReplyTo, []byte(`{"value":"back"}`)))
			}
		})
		assert.NoError(t, err)
		assert.NoError(t, agent.Flush())
	}})
	value, err := waiting.Resume("apply", "1").Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, `"back"`, string(value))
	hopeless := client.New(client.Config{Transport: c, PollDelay: time.Millisecond, Tolerate: -1})
	require.NoError(t, back.Unsubscribe())
	require.NoError(t, agent.Flush())
	_, err = hopeless.Resume("apply", "1").Wait(t.Context())
	require.ErrorIs(t, err, client.ErrNobody)
	srv.Stop()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return errors.Is(client.New(client.Config{Transport: c}).Ping(ctx), messaging.ErrDisconnected)
	}, 20*time.Second, time.Millisecond)
	for _, cfg := range []client.NATSConfig{{AgentID: "A"}, {Conn: srv.Connect(), AgentID: "a.b"}, {Conn: srv.Connect(), AgentID: "A", DirectorID: "*"},
		{Conn: srv.Connect(), AgentID: "A", Keys: &seal.Keys{}}} {
		_, err := client.NewNATS(cfg)
		assert.Error(t, err)
	}
}

// An agent that is cut off from its server while a task runs has its outcome when the server is back.
func TestServerGoesAwayMidTask(t *testing.T) {
	srv := messagingtest.NewServer(t)
	conn := srv.Connect()
	n, err := transport.NewNATS(transport.NATSConfig{Conn: conn, AgentID: "A"})
	require.NoError(t, err)
	free := make(chan struct{})
	a, err := agent.New(agent.Config{ID: "A", Transports: []transport.Transport{n}, Methods: []action.Method{
		{Name: "apply", Async: true, Do: func(context.Context) (string, error) { <-free; return "applied", nil }},
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
	tr, err := client.NewNATS(client.NATSConfig{Conn: srv.Connect(), AgentID: "A", Timeout: 200 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(tr.Close)
	var once sync.Once
	c := client.New(client.Config{Transport: tr, PollDelay: time.Millisecond, Tolerate: 100000, Progress: func(p client.Progress) {
		if p.Err != nil { // the client has seen that the server is gone
			once.Do(func() { close(free); srv.Start() })
		}
	}})
	require.NoError(t, c.WaitUntilReady(t.Context()))
	task, err := c.Start(t.Context(), "apply")
	require.NoError(t, err)
	srv.Stop()
	value, err := task.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, `"applied"`, string(value))
}
