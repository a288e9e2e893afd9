package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/internal/certtest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pong answers ping, fails at what is called fail, and echoes the arguments of the rest.
func pong(_ context.Context, r transport.Request) transport.Reply {
	switch r.Method {
	case "ping":
		return transport.Reply{Value: json.RawMessage(`"pong"`)}
	case "fail":
		return transport.Reply{Err: errors.New("failed")}
	default:
		return transport.Reply{Value: r.Arguments}
	}
}

// runs a transport until the test or the returned function ends it.
func runs(t testing.TB, tr transport.Transport, handler transport.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx, handler) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); assert.NoError(t, <-ended) }) }
	t.Cleanup(stop)
	return stop
}

// bus is an agent "A" on NATS, and a director's view of it.
type bus struct {
	t       testing.TB
	conn    *nats.Conn
	replies chan *nats.Msg
	log     *logged
}

// logged is a log that may be read while it grows.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newBus(t testing.TB, srv *messagingtest.Server, handler transport.Handler, change ...func(*transport.NATSConfig)) *bus {
	t.Helper()
	b := &bus{t: t, conn: srv.Connect(), replies: make(chan *nats.Msg, 100), log: &logged{}}
	cfg := transport.NATSConfig{
		Conn: srv.Connect(), AgentID: "A",
		Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	n, err := transport.NewNATS(cfg)
	require.NoError(t, err)
	_, err = b.conn.ChanSubscribe("r.>", b.replies)
	require.NoError(t, err)
	require.NoError(t, b.conn.Flush())
	runs(t, n, handler)
	require.Eventually(t, func() bool { return cfg.Conn.NumSubscriptions() == 1 && cfg.Conn.Flush() == nil }, 20*time.Second, time.Millisecond)
	return b
}

func (b *bus) send(text string) {
	b.t.Helper()
	require.NoError(b.t, b.conn.Publish("agent.A", []byte(text)))
}

func (b *bus) next() (subject, text string) {
	b.t.Helper()
	select {
	case msg := <-b.replies:
		return msg.Subject, string(msg.Data)
	case <-time.After(20 * time.Second):
		b.t.Fatal("no reply")
		return "", ""
	}
}

func TestNATS(t *testing.T) {
	b := newBus(t, messagingtest.NewServer(t), pong)
	for request, want := range map[string]string{
		`{"method":"ping","arguments":[],"reply_to":"r.1"}`:                    `{"value":"pong"}`,
		`{"protocol":0,"method":"ping","arguments":[],"reply_to":"r.2"}`:       `{"value":"pong"}`,
		`{"protocol":3,"method":"ping","reply_to":"r.3","unknown":{"a":[]}}`:   `{"value":"pong"}`,
		`{"protocol":"3","method":"echo","arguments":[1.50],"reply_to":"r.4"}`: `{"value":[1.50]}`,
		`{"method":"fail","reply_to":"r.5"}`:                                   `{"exception":{"message":"failed"}}`,
	} {
		b.send(request)
		subject, text := b.next()
		assert.Contains(t, request, `"`+subject+`"`)
		assert.Equal(t, want, text)
	}
	assert.Empty(t, b.replies, "exactly one reply to each")
}

// Nothing is answered to what cannot be read or answered, and the agent goes on.
func TestNATSWithoutReply(t *testing.T) {
	var mu sync.Mutex
	var called []string
	b := newBus(t, messagingtest.NewServer(t), func(ctx context.Context, r transport.Request) transport.Reply {
		mu.Lock()
		defer mu.Unlock()
		called = append(called, r.Method)
		return pong(ctx, r)
	})
	for _, request := range []string{
		`{`, ``, `null`, `[]`, `"ping"`, "\x00\xff", `{"method":7,"reply_to":"r.1"}`, `{"method":"ping","protocol":{},"reply_to":"r.1"}`,
		`{"method":"ping","reply_to":["r.1"]}`,
	} {
		b.send(request)
	}
	for _, to := range []string{``, `,"reply_to":null`, `,"reply_to":""`, `,"reply_to":"r.*"`, `,"reply_to":"r.>"`, `,"reply_to":"r. x"`,
		`,"reply_to":"$JS.API.STREAM.DELETE.s"`} {
		b.send(`{"method":"performed"` + to + `}`)
	}
	b.send(`{"method":"ping","reply_to":"r.last"}`)
	subject, _ := b.next()
	assert.Equal(t, "r.last", subject)
	require.Eventually(t, func() bool { return strings.Count(b.log.String(), "agent.reply.unwanted") == 7 }, 20*time.Second, time.Millisecond)
	assert.Empty(t, b.replies)
	mu.Lock()
	defer mu.Unlock()
	assert.Len(t, called, 8, "what nobody can be told of is done all the same")
	assert.Equal(t, 9, strings.Count(b.log.String(), "agent.request.unreadable"))
}

// A request that takes long keeps nobody waiting.
func TestNATSRequestsAreIndependent(t *testing.T) {
	free := make(chan struct{})
	b := newBus(t, messagingtest.NewServer(t), func(ctx context.Context, r transport.Request) transport.Reply {
		if r.Method == "slow" {
			<-free
		}
		return pong(ctx, r)
	})
	for range 50 {
		b.send(`{"method":"slow","reply_to":"r.slow"}`)
	}
	b.send(`{"method":"ping","reply_to":"r.quick"}`)
	subject, _ := b.next()
	assert.Equal(t, "r.quick", subject)
	close(free)
	for range 50 {
		subject, _ := b.next()
		assert.Equal(t, "r.slow", subject)
	}
}

// What comes in a burst is answered, each of it.
func TestNATSBurst(t *testing.T) {
	srv := messagingtest.NewServer(t)
	b := newBus(t, srv, pong)
	conn := srv.Connect()
	replies, err := conn.SubscribeSync("burst")
	require.NoError(t, err)
	require.NoError(t, replies.SetPendingLimits(-1, -1))
	b.send(`{"method":"ping","reply_to":"r.0"}`)
	b.next() // it listens
	const burst = 15000
	for range burst {
		require.NoError(t, conn.Publish("agent.A", []byte(`{"method":"ping","reply_to":"burst"}`)))
	}
	for i := range burst {
		_, err := replies.NextMsg(20 * time.Second)
		require.NoError(t, err, "reply %d", i)
	}
}

// A flood of large requests is refused rather than kept in memory, and others are taken again when there is room.
func TestNATSFloodOfLargeRequests(t *testing.T) {
	free := make(chan struct{})
	b := newBus(t, messagingtest.NewServer(t), func(_ context.Context, r transport.Request) transport.Reply {
		<-free
		return transport.Reply{Value: json.RawMessage(strconv.Itoa(len(r.Arguments)))}
	}, func(cfg *transport.NATSConfig) { cfg.MaxInFlight = 1 << 20 })
	large := `["` + strings.Repeat("x", 300<<10) + `"]`
	for i := range 5 {
		b.send(`{"method":"upload_blob","arguments":` + large + `,"reply_to":"r.` + strconv.Itoa(i) + `"}`)
	}
	for range 2 {
		subject, text := b.next()
		assert.Contains(t, []string{"r.3", "r.4"}, subject)
		assert.Equal(t, `{"exception":{"message":"`+transport.ErrBusy.Error()+`"}}`, text)
	}
	assert.Empty(t, b.replies)
	close(free)
	for range 3 {
		_, text := b.next()
		assert.Equal(t, `{"value":`+strconv.Itoa(len(large))+`}`, text)
	}
	require.Eventually(t, func() bool { // their room is given back
		b.send(`{"method":"upload_blob","arguments":` + large + `,"reply_to":"r.last"}`)
		_, text := b.next()
		return strings.HasPrefix(text, `{"value":`)
	}, 20*time.Second, time.Millisecond)
}

func TestNATSLimit(t *testing.T) {
	srv := messagingtest.NewServer(t, func(o *server.Options) { o.MaxPayload = 8 << 20 })
	overhead := len(`{"value":""}`)
	b := newBus(t, srv, func(_ context.Context, r transport.Request) transport.Reply {
		switch r.Method {
		case "exact":
			return transport.Reply{Value: json.RawMessage(`"` + strings.Repeat("x", transport.MaxReply-overhead) + `"`)}
		case "more":
			return transport.Reply{Value: json.RawMessage(`"` + strings.Repeat("x", transport.MaxReply-overhead+1) + `"`)}
		default:
			return transport.Reply{Err: errors.New(strings.Repeat("e", 2*transport.MaxReply))}
		}
	})
	b.send(`{"method":"exact","reply_to":"r.1"}`)
	_, text := b.next()
	assert.Len(t, text, 1048576)
	b.send(`{"method":"more","reply_to":"r.1"}`)
	_, text = b.next()
	assert.Equal(t, tooLong, text)
	b.send(`{"method":"fail","reply_to":"r.1"}`)
	_, text = b.next()
	assert.LessOrEqual(t, len(text), 1048576)
	assert.Contains(t, message(t, []byte(text)), marker)
}

// A server that takes less than the usual sets the limit.
func TestNATSServerWithLowLimit(t *testing.T) {
	srv := messagingtest.NewServer(t, func(o *server.Options) { o.MaxPayload = 2000 })
	b := newBus(t, srv, func(context.Context, transport.Request) transport.Reply {
		return transport.Reply{Err: errors.New(strings.Repeat("e", 5000))}
	})
	b.send(`{"method":"fail","reply_to":"r.1"}`)
	_, text := b.next()
	assert.LessOrEqual(t, len(text), 2000)
	assert.Greater(t, len(text), 1990)
}

// By the old rule what is too long goes into a blob store.
func TestOverflow(t *testing.T) {
	const id = "11111111-2222-3333-4444-555555555555"
	var stored []byte
	var failure error
	b := newBus(t, messagingtest.NewServer(t), func(_ context.Context, r transport.Request) transport.Reply {
		if r.Method == "fits" {
			return transport.Reply{Value: json.RawMessage(`"` + strings.Repeat("x", 100-13) + `"`)}
		}
		return transport.Reply{Value: json.RawMessage(`"` + strings.Repeat("x", 100-12) + `"`)}
	}, func(cfg *transport.NATSConfig) {
		cfg.MaxReply = 100
		cfg.Overflow = func(_ context.Context, reply []byte) (string, error) { stored = reply; return id, failure }
	})
	b.send(`{"method":"fits","reply_to":"r.1"}`)
	_, text := b.next()
	assert.Len(t, text, 99)
	b.send(`{"method":"exact","reply_to":"r.1"}`)
	_, text = b.next()
	assert.JSONEq(t, `{"exception":{"message":"message > NATS_MAX_PAYLOAD, stored in blobstore","blobstore_id":"`+id+`"}}`, text)
	assert.Len(t, stored, 100)
	assert.True(t, json.Valid(stored))
	failure = errors.New("full")
	b.send(`{"method":"exact","reply_to":"r.1"}`)
	_, text = b.next()
	assert.Contains(t, text, `"blobstore_id":"error: unable to upload blob to blobstore: full"`)
}

func TestNATSEncryption(t *testing.T) {
	keys := seal.Keys{Crypt: "Y3J5cHQta2V5LWZvci10ZXN0", Sign: "c2lnbi1rZXktZm9yLXRlc3Q="}
	b := newBus(t, messagingtest.NewServer(t), pong, func(cfg *transport.NATSConfig) { cfg.Keys = &keys })
	director := seal.NewSession(keys, "A")
	sealed := func(text, to string) string {
		envelope, err := director.Seal([]byte(text))
		require.NoError(t, err)
		envelope.ReplyTo = to
		data, err := json.Marshal(envelope)
		require.NoError(t, err)
		return string(data)
	}
	opened := func(text string) string {
		var envelope messaging.AgentEnvelope
		require.NoError(t, json.Unmarshal([]byte(text), &envelope))
		assert.Equal(t, director.ID(), envelope.SessionID)
		data, err := director.Open(envelope)
		require.NoError(t, err)
		return string(data)
	}
	for range 3 {
		b.send(sealed(`{"method":"ping","arguments":[]}`, "r.1"))
		_, text := b.next()
		assert.Contains(t, opened(text), `{"value":"pong","sequence_number":`)
	}

	replayed := sealed(`{"method":"ping"}`, "r.bad")
	b.send(strings.Replace(replayed, "r.bad", "r.good", 1))
	_, text := b.next()
	opened(text)
	other, err := seal.NewSession(seal.Keys{Crypt: keys.Crypt, Sign: "other"}, "A").Seal([]byte(`{"method":"ping"}`))
	require.NoError(t, err)
	forged, err := json.Marshal(other)
	require.NoError(t, err)
	for _, bad := range []string{
		replayed,
		strings.Replace(string(forged), `{`, `{"reply_to":"r.bad",`, 1),
		strings.Replace(sealed(`{"method":"ping"}`, "r.bad"), director.ID(), "another", 1),
		`{"method":"ping","arguments":[],"reply_to":"r.bad"}`,
		`{"reply_to":"r.bad","session_id":"s"}`, `{"reply_to":"r.bad","encrypted_data":"x"}`, `{"session_id":7}`, `{`,
		sealed(`{"method":7}`, "r.bad"),
	} {
		b.send(bad)
	}
	b.send(sealed(`{"method":"ping"}`, "r.last"))
	subject, text := b.next()
	assert.Equal(t, "r.last", subject, "nothing was answered to the others")
	opened(text)
	assert.Equal(t, 9, strings.Count(b.log.String(), "agent.request.unreadable"))

	// Sealed replies hold to the limit too.
	b.send(sealed(`{"method":"echo","arguments":["`+strings.Repeat("x", 600<<10)+`"]}`, "r.large"))
	_, text = b.next()
	assert.LessOrEqual(t, len(text), transport.MaxReply)
	assert.Contains(t, opened(text), strings.Repeat("x", 600<<10))
}

func TestSealedReplyIsCut(t *testing.T) {
	keys := seal.Keys{Crypt: "c", Sign: "s"}
	b := newBus(t, messagingtest.NewServer(t), func(_ context.Context, r transport.Request) transport.Reply {
		if r.Method == "value" {
			return transport.Reply{Value: json.RawMessage(`"` + strings.Repeat("v", 9000) + `"`)}
		}
		return transport.Reply{Err: errors.New(strings.Repeat(`"`, 9000))}
	}, func(cfg *transport.NATSConfig) { cfg.Keys, cfg.MaxReply = &keys, 10000 })
	director := seal.NewSession(keys, "A")
	for method, want := range map[string]string{"value": "Response exceeded maximum allowed length", "fail": `...[truncated]...`} {
		envelope, err := director.Seal([]byte(`{"method":"` + method + `"}`))
		require.NoError(t, err)
		envelope.ReplyTo = "r.1"
		data, err := json.Marshal(envelope)
		require.NoError(t, err)
		b.send(string(data))
		_, text := b.next()
		assert.LessOrEqual(t, len(text), 10000)
		require.NoError(t, json.Unmarshal([]byte(text), &envelope))
		plain, err := director.Open(envelope)
		require.NoError(t, err)
		assert.Contains(t, string(plain), want)
	}
}

// A server that goes away takes the agent's answer with it only when it stays away.
func TestNATSServerGoesAway(t *testing.T) {
	srv := messagingtest.NewServer(t)
	begun, free := make(chan struct{}), make(chan struct{})
	b := newBus(t, srv, func(ctx context.Context, r transport.Request) transport.Reply {
		if r.Method == "slow" {
			close(begun)
			<-free
		}
		return pong(ctx, r)
	})
	b.send(`{"method":"slow","arguments":[],"reply_to":"r.slow"}`)
	<-begun
	srv.Stop()
	require.Eventually(t, func() bool { return !b.conn.IsConnected() }, 20*time.Second, time.Millisecond)
	close(free)
	srv.Start()
	// The director may be back later than the agent: then it asks again. What counts is that the agent answers.
	require.Eventually(t, func() bool {
		_ = b.conn.Publish("agent.A", []byte(`{"method":"ping","reply_to":"r.again"}`)) // fails until the server is back
		for {
			select {
			case msg := <-b.replies:
				if msg.Subject == "r.again" {
					return true
				}
			default:
				return false
			}
		}
	}, 20*time.Second, 10*time.Millisecond)
}

// A reply that was ready while there was no server is published when there is one.
func TestReplyWaitsForServer(t *testing.T) {
	srv := messagingtest.NewServer(t)
	conn := srv.Connect()
	n, err := transport.NewNATS(transport.NATSConfig{Conn: conn, AgentID: "A"})
	require.NoError(t, err)
	away := make(chan struct{})
	runs(t, n, func(ctx context.Context, r transport.Request) transport.Reply {
		srv.Stop()
		assert.Eventually(t, func() bool { return !conn.IsConnected() }, 20*time.Second, time.Millisecond)
		close(away)
		return pong(ctx, r)
	})
	// One server for all: the listener comes with the new server, before the agent can be back.
	require.Eventually(t, func() bool { return conn.NumSubscriptions() == 1 && conn.Flush() == nil }, 20*time.Second, time.Millisecond)
	require.NoError(t, conn.Publish("agent.A", []byte(`{"method":"ping","reply_to":"r.1"}`)))
	replies := make(chan *nats.Msg, 1)
	_, err = conn.ChanSubscribe("r.1", replies) // which comes back before anything is published
	require.NoError(t, err)
	<-away
	srv.Start()
	select {
	case msg := <-replies:
		assert.Equal(t, `{"value":"pong"}`, string(msg.Data))
	case <-time.After(20 * time.Second):
		t.Error("the reply is lost")
	}
}

// When the transport ends, what is under way is answered.
func TestNATSEnd(t *testing.T) {
	srv := messagingtest.NewServer(t)
	conn, director := srv.Connect(), srv.Connect()
	n, err := transport.NewNATS(transport.NATSConfig{Conn: conn, AgentID: "A"})
	require.NoError(t, err)
	replies, err := director.SubscribeSync("r.1")
	require.NoError(t, err)
	require.NoError(t, director.Flush())
	begun, free := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- n.Run(ctx, func(ctx context.Context, r transport.Request) transport.Reply {
			close(begun)
			<-free
			assert.NoError(t, ctx.Err())
			return pong(ctx, r)
		})
	}()
	require.Eventually(t, func() bool { return conn.NumSubscriptions() == 1 && conn.Flush() == nil }, 20*time.Second, time.Millisecond)
	require.NoError(t, director.Publish("agent.A", []byte(`{"method":"ping","reply_to":"r.1"}`)))
	<-begun
	cancel()
	require.Eventually(t, func() bool { return conn.NumSubscriptions() == 0 }, 20*time.Second, time.Millisecond)
	assert.Empty(t, ended)
	close(free)
	require.NoError(t, <-ended)
	msg, err := replies.NextMsg(20 * time.Second)
	require.NoError(t, err)
	assert.Equal(t, `{"value":"pong"}`, string(msg.Data))
}

func TestNATSConfigThatCannotWork(t *testing.T) {
	srv := messagingtest.NewServer(t)
	conn := srv.Connect()
	for text, cfg := range map[string]transport.NATSConfig{
		"connection is required": {AgentID: "A"}, "agent's id": {Conn: conn, AgentID: "a.b"},
		"crypt_key": {Conn: conn, AgentID: "A", Keys: &seal.Keys{}},
	} {
		_, err := transport.NewNATS(cfg)
		assert.ErrorContains(t, err, text)
	}
	conn.Close()
	n, err := transport.NewNATS(transport.NATSConfig{Conn: conn, AgentID: "A"})
	require.NoError(t, err)
	assert.ErrorIs(t, n.Run(t.Context(), pong), nats.ErrConnectionClosed)
}

func read(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(data)
}

// The server is to be the director's, and the agent has to show who it is.
func TestNATSWithTLS(t *testing.T) {
	dir, authority := t.TempDir(), certtest.NewAuthority(t, "ca")
	agentCert, agentKey := authority.Issue(dir, "A.agent.bosh-internal")
	certificates := transport.Certificates{CA: read(t, authority.File), Certificate: read(t, agentCert), PrivateKey: read(t, agentKey)}
	listen := func(name string) *messagingtest.Server {
		pair, err := tls.LoadX509KeyPair(authority.Issue(dir, name))
		require.NoError(t, err)
		return messagingtest.NewServer(t, func(o *server.Options) {
			o.TLS, o.TLSTimeout = true, 5
			o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
		})
	}
	connect := func(srv *messagingtest.Server, c transport.Certificates) (*nats.Conn, *logged) {
		log := &logged{}
		conn, err := transport.Connect(transport.ConnectConfig{
			Servers: []string{srv.URL()}, TLS: &c, Name: "A",
			Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		return conn, log
	}

	good := listen("default.nats.bosh-internal")
	conn, _ := connect(good, certificates)
	require.Eventually(t, conn.IsConnected, 20*time.Second, time.Millisecond)
	n, err := transport.NewNATS(transport.NATSConfig{Conn: conn, AgentID: "A"})
	require.NoError(t, err)
	runs(t, n, pong)
	replies, err := conn.SubscribeSync("r.1")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return conn.NumSubscriptions() == 2 }, 20*time.Second, time.Millisecond)
	require.NoError(t, conn.Publish("agent.A", []byte(`{"method":"ping","reply_to":"r.1"}`)))
	msg, err := replies.NextMsg(20 * time.Second)
	require.NoError(t, err)
	assert.Equal(t, `{"value":"pong"}`, string(msg.Data))

	const wrongName = "server Certificate CommonName does not match *.nats.bosh-internal"
	conn, log := connect(listen("impostor.example.com"), certificates)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), wrongName) }, 20*time.Second, time.Millisecond)
	assert.False(t, conn.IsConnected())

	stranger := certtest.NewAuthority(t, "other")
	conn, log = connect(good, transport.Certificates{
		CA: read(t, stranger.File), Certificate: certificates.Certificate, PrivateKey: certificates.PrivateKey,
	})
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "certificate signed by unknown authority") }, 20*time.Second, time.Millisecond)
	assert.False(t, conn.IsConnected())

	for text, c := range map[string]transport.Certificates{
		"Parsing certificate and private key": {CA: certificates.CA},
		"Parsing CA certificate":              {Certificate: certificates.Certificate, PrivateKey: certificates.PrivateKey},
	} {
		_, err := transport.Connect(transport.ConnectConfig{TLS: &c})
		assert.ErrorContains(t, err, text)
	}
}

func TestReconnectDelay(t *testing.T) {
	var pauses []time.Duration
	for attempts := range 8 {
		pauses = append(pauses, transport.ReconnectDelay(attempts))
	}
	s := time.Second
	assert.Equal(t, []time.Duration{2 * s, 2 * s, 4 * s, 6 * s, 8 * s, 10 * s, 10 * s, 10 * s}, pauses)
}

// Of several servers any will do.
func TestConnectToTheServerThatIsThere(t *testing.T) {
	srv := messagingtest.NewServer(t)
	conn, err := transport.Connect(transport.ConnectConfig{Servers: []string{"nats://127.0.0.1:1", srv.URL(), "nats://127.0.0.1:2"}, Name: "A"})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	require.Eventually(t, conn.IsConnected, 20*time.Second, time.Millisecond)
	joined, err := transport.Connect(transport.ConnectConfig{Servers: []string{"nats://127.0.0.1:1, " + srv.URL()}, Name: "A"})
	require.NoError(t, err)
	t.Cleanup(joined.Close)
	require.Eventually(t, joined.IsConnected, 20*time.Second, time.Millisecond, "as mbus may have them")
	_, err = transport.Connect(transport.ConnectConfig{Servers: []string{"://user:secret@x"}})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}
