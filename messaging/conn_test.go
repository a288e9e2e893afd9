package messaging_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 5*time.Millisecond, what)
}

func TestInboxKeepsTheOrderOfSubjects(t *testing.T) {
	conn := messagingtest.NewServer(t).Connect()
	in := messaging.NewInbox(conn, nil)
	defer in.Close()
	var got []string
	require.NoError(t, messaging.Handle(in, messaging.DEAStop, func(_ context.Context, m messaging.StopMessage) {
		got = append(got, "stop "+string(m.Droplet))
	}))
	require.NoError(t, messaging.Handle(in, messaging.StagingStop, func(_ context.Context, m messaging.StagingStopMessage) {
		got = append(got, "staging "+string(m.AppID))
	}))
	var want []string
	for range 100 {
		require.NoError(t, messaging.DEAStop.Publish(conn, messaging.StopMessage{Filter: messaging.Filter{Droplet: "a"}}))
		require.NoError(t, messaging.StagingStop.Publish(conn, messaging.StagingStopMessage{AppID: "a"}))
		want = append(want, "stop a", "staging a")
	}
	require.NoError(t, conn.Flush())
	ctx := t.Context()
	for range want {
		in.Dispatch(ctx, <-in.C())
	}
	assert.Equal(t, want, got)
}

// Who reads for himself is told of everything, with its subject.
func TestHandleRaw(t *testing.T) {
	conn := messagingtest.NewServer(t).Connect()
	in := messaging.NewInbox(conn, nil)
	defer in.Close()
	var got []string
	require.NoError(t, in.HandleRaw("some.*.subject", func(_ context.Context, msg *nats.Msg) {
		got = append(got, msg.Subject+" "+string(msg.Data))
	}))
	require.Error(t, in.HandleRaw("some..subject", nil))
	for _, text := range []string{"one {", "two null", "three "} {
		subject, data, _ := strings.Cut(text, " ")
		require.NoError(t, conn.Publish("some."+subject+".subject", []byte(data)))
		in.Dispatch(t.Context(), <-in.C())
	}
	assert.Equal(t, []string{"some.one.subject {", "some.two.subject null", "some.three.subject "}, got)
}

func TestInboxSurvivesBadMessagesAndPanics(t *testing.T) {
	conn := messagingtest.NewServer(t).Connect()
	in := messaging.NewInbox(conn, nil)
	defer in.Close()
	var good atomic.Int32
	require.NoError(t, messaging.Handle(in, messaging.DEAStop, func(_ context.Context, m messaging.StopMessage) {
		if m.Droplet == "panic" {
			panic("a fault in a handler")
		}
		good.Add(1)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- in.Run(ctx) }()
	for _, data := range []string{"", "{", "null", "[]", `{"droplet":`, `{"droplet":"panic"}`, strings.Repeat("[", 100000), `{"droplet":"good"}`} {
		require.NoError(t, conn.Publish(string(messaging.DEAStop), []byte(data)))
	}
	soon(t, "the good message is handled", func() bool { return good.Load() == 1 })
	cancel()
	require.NoError(t, <-done)
}

// In a queue group each request reaches one of the members; every member hears what comes to all.
func TestAnswerInGroup(t *testing.T) {
	const requests = 50
	server := messagingtest.NewServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ended atomic.Int32
	for _, member := range []string{"one", "two"} {
		conn := server.Connect()
		in := messaging.NewInbox(conn, nil)
		defer in.Close()
		require.NoError(t, messaging.AnswerInGroup(in, messaging.StagingQueue, messaging.StagingQueueGroup,
			func(_ context.Context, m messaging.StagingRequest, to messaging.Reply) {
				assert.NoError(t, messaging.Send(to, messaging.StagingRefusal{TaskID: string(m.TaskID), Error: "refused by " + member}))
			}))
		require.NoError(t, messaging.Handle(in, messaging.StagingLocate, func(context.Context, messaging.Signal) {
			assert.NoError(t, conn.Flush(), "its answers are with the server")
			ended.Add(1)
		}))
		require.NoError(t, conn.Flush(), "the server knows the subscriptions")
		done := make(chan error)
		go func() { done <- in.Run(ctx) }()
		defer func() { cancel(); assert.NoError(t, <-done) }()
	}
	conn := server.Connect()
	sub, err := conn.SubscribeSync("answers")
	require.NoError(t, err)
	want := make([]string, requests)
	for i := range requests {
		want[i] = strconv.Itoa(i)
		require.NoError(t, conn.PublishRequest(string(messaging.StagingQueue), "answers", []byte(`{"task_id":`+want[i]+`}`)))
	}
	require.NoError(t, messaging.StagingLocate.Publish(conn, messaging.Signal{}))
	soon(t, "both members have come to the end", func() bool { return ended.Load() == 2 })
	require.NoError(t, conn.Flush(), "all answers are here")
	count, _, err := sub.Pending()
	require.NoError(t, err)
	require.Equal(t, requests, count, "no request was answered twice")
	var got []string
	for range requests {
		msg, err := sub.NextMsg(patience)
		require.NoError(t, err)
		answer, err := messaging.StagingQueue.DecodeAnswer(msg.Data)
		require.NoError(t, err)
		got = append(got, string(answer.TaskID))
	}
	assert.ElementsMatch(t, want, got)
}

func TestQuery(t *testing.T) {
	conn := messagingtest.NewServer(t).Connect()
	in := messaging.NewInbox(conn, nil)
	defer in.Close()
	require.NoError(t, messaging.Answer(in, messaging.DEAFindDroplet,
		func(_ context.Context, m messaging.FindMessage, reply messaging.Reply) {
			for i := range 2 {
				assert.NoError(t, messaging.Send(reply, messaging.FoundInstance{
					DEA: "d", Droplet: m.Droplet, Instance: "i", Index: i, State: messaging.Running}))
			}
		}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- in.Run(ctx) }()

	first, err := messaging.DEAFindDroplet.Ask(ctx, conn, messaging.FindMessage{Filter: messaging.Filter{Droplet: "a"}})
	require.NoError(t, err)
	assert.Equal(t, 0, first.Index)

	var indexes []int
	asking, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for found, err := range messaging.DEAFindDroplet.AskAll(asking, conn, messaging.FindMessage{Filter: messaging.Filter{Droplet: "a"}}) {
		require.NoError(t, err)
		indexes = append(indexes, found.Index)
		if len(indexes) == 2 {
			stop() // the end of the time is the end of the answers, and no error
		}
	}
	assert.Equal(t, []int{0, 1}, indexes)

	_, err = messaging.RouterGreet.Ask(ctx, conn, messaging.Signal{})
	assert.Error(t, err, "nobody listens: the server says so at once")
	cancel()
	require.NoError(t, <-done)
}

func TestConnectBeforeTheServerIsThere(t *testing.T) {
	server := messagingtest.NewServer(t)
	server.Stop()
	conn := server.Connect()
	assert.ErrorIs(t, messaging.DEALocate.Publish(conn, messaging.Signal{}), messaging.ErrDisconnected)
	var heard atomic.Int32
	_, err := conn.Subscribe(string(messaging.DEALocate), func(*nats.Msg) { heard.Add(1) })
	require.NoError(t, err)
	server.Start()
	soon(t, "connected", conn.IsConnected)
	soon(t, "subscribed", func() bool {
		require.NoError(t, messaging.DEALocate.Publish(conn, messaging.Signal{}))
		return heard.Load() > 0
	})
}

func TestNothingStaleIsReplayedAndNothingImportantIsLost(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn := server.Connect()
	soon(t, "connected", conn.IsConnected)
	var reconnected atomic.Int32
	conn.SetReconnectHandler(func(*nats.Conn) { reconnected.Add(1) })
	outbox := messaging.NewOutbox(conn, nil)

	server.Stop()
	soon(t, "disconnected", func() bool { return !conn.IsConnected() })
	heartbeat := messaging.Heartbeat{DEA: "stale", Droplets: []messaging.Instance{}}
	assert.ErrorIs(t, messaging.DEAHeartbeat.Publish(conn, heartbeat), messaging.ErrDisconnected)
	for index := range 3 {
		require.NoError(t, messaging.Post(outbox, messaging.DropletExited,
			messaging.Exit{Droplet: "a", Instance: "i", Index: index, Reason: messaging.ReasonCrashed}))
	}
	assert.Equal(t, 3, outbox.Waiting())
	assert.ErrorIs(t, outbox.Sync(t.Context()), messaging.ErrDisconnected)

	server.Start()
	watcher := server.Connect()
	soon(t, "watcher connected", watcher.IsConnected)
	all := make(chan *nats.Msg, 100)
	_, err := watcher.ChanSubscribe(">", all)
	require.NoError(t, err)
	require.NoError(t, watcher.Flush())
	soon(t, "reconnected", func() bool { return reconnected.Load() == 1 })

	require.NoError(t, outbox.Sync(t.Context()))
	require.NoError(t, messaging.DEALocate.Publish(conn, messaging.Signal{}))
	for index := range 3 {
		exit, err := messaging.DropletExited.Decode((<-all).Data)
		require.NoError(t, err)
		assert.Equal(t, index, exit.Index)
	}
	assert.Equal(t, string(messaging.DEALocate), (<-all).Subject, "the heartbeat is gone")
	assert.Zero(t, outbox.Waiting())
}

func TestTooLargeMessage(t *testing.T) {
	conn := messagingtest.NewServer(t).Connect()
	err := messaging.DEAUpdate.Publish(conn, messaging.UpdateMessage{Droplet: "a", URIs: ptr([]string{strings.Repeat("x", 2<<20)})})
	assert.ErrorIs(t, err, nats.ErrMaxPayload)
	assert.ErrorContains(t, err, "max_payload")
}

func TestDrain(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn, other := server.Connect(), server.Connect()
	heard := make(chan *nats.Msg, 10)
	_, err := other.ChanSubscribe(string(messaging.DEALocate), heard)
	require.NoError(t, err)
	require.NoError(t, other.Flush())
	require.NoError(t, messaging.DEALocate.Publish(conn, messaging.Signal{}))
	require.NoError(t, messaging.Drain(t.Context(), conn))
	assert.True(t, conn.IsClosed())
	<-heard
	assert.NoError(t, messaging.Drain(t.Context(), conn), "a second time is harmless")

	server.Stop()
	soon(t, "disconnected", func() bool { return !other.IsConnected() })
	assert.NoError(t, messaging.Drain(t.Context(), other), "with no server there is nothing to wait for")
}

func TestDrainIsBounded(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn := server.Connect()
	release := make(chan struct{})
	defer close(release)
	started := make(chan struct{})
	_, err := conn.Subscribe("slow", func(*nats.Msg) { close(started); <-release })
	require.NoError(t, err)
	require.NoError(t, conn.Publish("slow", nil))
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = messaging.Drain(ctx, conn)
	assert.True(t, errors.Is(err, context.DeadlineExceeded), "%v", err)
}

func TestConnectRefusesWhatIsNoURL(t *testing.T) {
	_, err := messaging.Connect(messaging.Config{Servers: []string{"://user:secret@host"}})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}

func TestCredentials(t *testing.T) {
	server := messagingtest.NewServer(t, func(o *natsserver.Options) { o.Username, o.Password = "dea", "p:/@ss" })
	for name, cfg := range map[string]messaging.Config{
		"in the URL": {Servers: []string{strings.Replace(server.URL(), "nats://", "nats://dea:p%3A%2F%40ss@", 1)}},
		"beside it":  {Servers: []string{server.URL()}, User: "dea", Password: "p:/@ss"},
	} {
		conn, err := messaging.Connect(cfg)
		require.NoError(t, err, name)
		soon(t, name, conn.IsConnected)
		conn.Close()
	}
	conn, err := messaging.Connect(messaging.Config{Servers: []string{server.URL()}, User: "dea", Password: "wrong", ReconnectWait: 10 * time.Millisecond})
	require.NoError(t, err, "the password may be mended on the server")
	defer conn.Close()
	assert.ErrorIs(t, messaging.DEALocate.Publish(conn, messaging.Signal{}), messaging.ErrDisconnected)
}

func TestTLSWithClientCertificates(t *testing.T) {
	ours := httptest.NewUnstartedServer(nil) // for a certificate of 127.0.0.1, good for both sides of the test
	ours.StartTLS()
	defer ours.Close()
	pool := x509.NewCertPool()
	pool.AddCert(ours.Certificate())
	certificates := ours.TLS.Certificates
	server := messagingtest.NewServer(t, func(o *natsserver.Options) {
		o.TLSConfig = &tls.Config{Certificates: certificates, ClientAuth: tls.RequireAnyClientCert}
	})
	with, err := messaging.Connect(messaging.Config{
		Servers: []string{server.URL()}, TLS: &tls.Config{RootCAs: pool, Certificates: certificates},
	})
	require.NoError(t, err)
	defer with.Close()
	soon(t, "connected by TLS", with.IsConnected)
	without, err := messaging.Connect(messaging.Config{
		Servers: []string{server.URL()}, TLS: &tls.Config{RootCAs: pool}, ReconnectWait: 10 * time.Millisecond,
	})
	require.NoError(t, err)
	defer without.Close()
	assert.ErrorIs(t, messaging.DEALocate.Publish(without, messaging.Signal{}), messaging.ErrDisconnected)
}

// That no server is there is told at once, and then not again and again.
func TestNobodyThereIsTold(t *testing.T) {
	var log journal
	conn, err := messaging.Connect(messaging.Config{
		Servers: []string{"nats://user:secret@127.0.0.1:1"}, ReconnectWait: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	defer conn.Close()
	require.Eventually(t, func() bool { return strings.Count(log.String(), "nats.unreachable") > 3 }, 10*time.Second, time.Millisecond)
	assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
	assert.Contains(t, log.String(), "servers=127.0.0.1:1 ")
	assert.NotContains(t, log.String(), "secret")
}

// A journal collects what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
