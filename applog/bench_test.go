package applog

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging/messagingtest"
)

var benchLine = Line{Time: noon, App: "0e7b4b2e-9c1c-4d3a-8f57-0d1f6e3c2b1a", Instance: "c62305038a34c62305038a34c6230503", Source: App,
	Text: strings.Repeat("GET /index.html 200 ", 5), Drains: nil}

func BenchmarkMessage(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = appendFrame(buf[:0], benchLine, "deakit", 64<<10)
	}
	b.SetBytes(int64(len(buf)))
}

// What Emit costs its caller, while the lines go to a receiver, or nowhere because they are more than it can take.
func BenchmarkEmitSyslog(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	})
	s, err := NewSyslog(SyslogConfig{Target: "syslog://" + listener.Addr().String()})
	require.NoError(b, err)
	emit(b, s, s.Run, s.Stats)
	require.NoError(b, listener.Close())
	reading.Wait()
}

func BenchmarkEmitNATS(b *testing.B) {
	n, err := NewNATS(NATSConfig{Conn: messagingtest.NewServer(b).Connect()})
	require.NoError(b, err)
	emit(b, n, n.Run, n.Stats)
}

func emit(b *testing.B, e Emitter, run func(context.Context) error, stats func() Stats) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	b.ReportAllocs()
	for b.Loop() {
		e.Emit(benchLine)
	}
	cancel()
	require.NoError(b, <-done)
	got := stats()
	b.ReportMetric(100*float64(got.Sent)/float64(got.Sent+got.Lost), "%sent")
}

// How fast a log is read, without the pauses that keep an app from keeping the node busy.
func BenchmarkFollow(b *testing.B) {
	g := newGuest(b, FollowerConfig{MaxBehind: 1 << 40})
	g.write(StdoutFile, strings.Repeat(strings.Repeat("x", 99)+"\n", lookBytes/100))
	lines := 0
	g.f.emitter = counting{&lines}
	t := g.idle(b)
	s := t.streams[0]
	b.SetBytes(lookBytes / 100 * 100)
	b.ReportAllocs()
	for b.Loop() {
		s.pos = 0
		t.look()
	}
	require.NotZero(b, lines)
}

type counting struct{ lines *int }

func (c counting) Emit(Line) { *c.lines++ }

// What an instance costs that writes nothing: once a second.
func BenchmarkIdleLook(b *testing.B) {
	g := newGuest(b, FollowerConfig{})
	g.write(StdoutFile, "x\n")
	g.write(StderrFile, "x\n")
	t := g.idle(b)
	b.ReportAllocs()
	for b.Loop() {
		t.look()
	}
}

// idle returns a Tail without a goroutine.
func (g *guest) idle(b *testing.B) *Tail {
	t := &Tail{follower: g.f, log: Log{Root: g.root, Dir: LogDir, Origin: func() Line { return benchLine }}}
	t.streams = []*stream{newStream(StdoutFile, Stdout, t), newStream(StderrFile, Stderr, t)}
	b.Cleanup(t.close)
	t.look()
	return t
}

// How long it takes until a line of an idle app is emitted.
func BenchmarkFollowLatency(b *testing.B) {
	g := newGuest(b, FollowerConfig{})
	g.write(StdoutFile, "")
	lines := make(chan Line, 1)
	g.f.emitter = passing(lines)
	g.follow(false)
	file, err := os.OpenFile(g.path(StdoutFile), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(b, err)
	defer file.Close()
	for b.Loop() {
		_, _ = fmt.Fprintln(file, "x")
		<-lines
	}
}

type passing chan Line

func (p passing) Emit(line Line) { p <- line }
