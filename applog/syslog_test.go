package applog

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSyslogConfig(t *testing.T) {
	for text, want := range map[string]string{
		"syslog://h:1":                     "syslog://h:1",
		"syslog://h":                       "syslog://h:514",
		"syslog-tls://h":                   "syslog-tls://h:6514",
		"syslog-udp://[::1]":               "syslog-udp://[::1]:514",
		"syslog://u:secret@h:2/path?token": "syslog://h:2",
	} {
		got, err := parseTarget(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got.String())
	}
	for _, text := range []string{"h:1", "https://secret@h/", "syslog://", "syslog://secret@h:0", "syslog://h:65536",
		"syslog://secret:x\n@h:1", "syslog:h:1", "syslog://secret@:514", "syslog://" + strings.Repeat("h", 300)} {
		_, err := NewSyslog(SyslogConfig{Target: text})
		require.ErrorIs(t, err, ErrURL, text)
		assert.NotContains(t, err.Error(), "secret")
		assert.ErrorIs(t, CheckURL(text), ErrURL)
	}
	for _, cfg := range []SyslogConfig{{}, {Drains: true, MaxText: -1}, {Drains: true, DrainIdle: -1}} {
		_, err := NewSyslog(cfg)
		assert.Error(t, err)
	}
}

func TestPublicAddress(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8:514": true, "[2606:4700::1111]:514": true, "172.32.0.1:1": true,
		"127.0.0.1:514": false, "10.1.2.3:514": false, "172.16.0.1:1": false, "192.168.0.1:1": false, "169.254.169.254:80": false,
		"100.64.0.1:1": false, "0.0.0.0:1": false, "0.1.2.3:1": false, "224.0.0.1:1": false, "255.255.255.255:1": false, "240.0.0.1:1": false,
		"[::1]:1": false, "[fe80::1%eth0]:1": false, "[fd00::1]:1": false, "[::ffff:10.0.0.1]:1": false, "[64:ff9b::7f00:1]:1": false,
		"[2002:7f00:1::]:1": false, "[::7f00:1]:1": false, "[ff02::1]:1": false,
	} {
		assert.Equal(t, want, PublicAddress(netip.MustParseAddrPort(address)), address)
	}
}

func TestSyslogUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer conn.Close()
	s := newSyslog(t, SyslogConfig{Target: "syslog-udp://" + conn.LocalAddr().String(), Hostname: "node"})
	run(t, s)
	s.Emit(Line{App: "guid", Index: 1, Source: App, Stream: Stderr, Text: "one"})
	s.Emit(Line{App: "guid", Index: 1, Source: App, Text: strings.Repeat("x", 100_000)})
	buf := make([]byte, 1<<16)
	var got []parsed
	for range 2 {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, _, err := conn.ReadFrom(buf)
		require.NoError(t, err)
		assert.LessOrEqual(t, n, maxDatagram)
		p, err := parse(string(buf[:n]))
		require.NoError(t, err)
		got = append(got, p)
	}
	assert.Equal(t, "one", got[0].text)
	assert.Equal(t, 11, got[0].pri)
	assert.Equal(t, "node", got[0].hostname)
	assert.WithinDuration(t, time.Now(), got[0].time, time.Minute)
	assert.Len(t, got[1].text, maxDatagram-1024)
}

// Streams, plain and secure: everything arrives once and in order, also what was emitted before Run and what waits when
// it ends.
func TestSyslogStreams(t *testing.T) {
	server, client := testTLS(t)
	for _, scheme := range []string{"syslog", "syslog-tls"} {
		t.Run(scheme, func(t *testing.T) {
			secure := server
			if scheme == "syslog" {
				secure = nil
			}
			r := receive(t, "127.0.0.1:0", secure)
			s := newSyslog(t, SyslogConfig{Target: scheme + "://" + r.address(), TLS: client})
			var want []string
			for i := range 5000 {
				if i == 1000 {
					defer run(t, s)()
				}
				text := fmt.Sprint(i, strings.Repeat(" äx", i%100))
				want = append(want, text)
				s.Emit(Line{App: "guid", Source: App, Text: text})
			}
			eventually(t, "all lines arrive", func() bool { return len(r.texts()) >= len(want) })
			assert.Equal(t, want, r.texts())
			eventually(t, "all lines are counted", func() bool { return s.Stats() == Stats{Sent: 5000} })
			_, ever := r.connections()
			assert.Equal(t, 1, ever)
		})
	}
}

func TestSyslogFlushesAtTheEnd(t *testing.T) {
	r := receive(t, "127.0.0.1:0", nil)
	s := newSyslog(t, SyslogConfig{Target: "syslog://" + r.address()})
	for i := range 10_000 {
		s.Emit(Line{Text: strconv.Itoa(i)})
	}
	run(t, s)() // ends at once
	assert.Equal(t, Stats{Sent: 10_000}, s.Stats())
	eventually(t, "all lines arrive", func() bool { return len(r.texts()) == 10_000 })
	s.Emit(Line{})
	assert.EqualValues(t, 1, s.Stats().Lost, "nobody sends any more")
	assert.ErrorContains(t, s.Run(t.Context()), "before")
}

// A receiver that is not there yet, goes, and comes back: lines wait, and nothing is told twice.
func TestSyslogReconnects(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())

	book := &logBook{}
	s := newSyslog(t, SyslogConfig{Target: "syslog://user:secret@" + address + "/secret", Logger: book.logger()})
	run(t, s)
	s.Emit(Line{Text: "early"})
	eventually(t, "the failure is told", func() bool { return book.count("applog.syslog.failed") == 1 })
	assert.Contains(t, book.String(), "to=syslog://"+address)

	first := receive(t, address, nil)
	eventually(t, "the line arrives", func() bool { return len(first.texts()) == 1 })
	eventually(t, "the end of the failure is told", func() bool { return book.count("applog.syslog.recovered") == 1 })
	first.hangUp()
	eventually(t, "the sender has seen the end of the connection", func() bool { now, _ := first.connections(); return now == 0 })
	first.stop()
	s.Emit(Line{Text: "late"})
	s.Emit(Line{Text: "later"})
	second := receive(t, address, nil)
	eventually(t, "the lines arrive", func() bool { return len(second.texts()) == 2 })
	assert.Equal(t, []string{"late", "later"}, second.texts())
	assert.Equal(t, []string{"early"}, first.texts())
	assert.NotContains(t, book.String(), "secret")
	assert.Equal(t, 1, book.count("applog.syslog.failed"), "not more than once a minute")
}

// A receiver that closes an idle connection costs no line.
func TestSyslogAfterHangUp(t *testing.T) {
	r := receive(t, "127.0.0.1:0", nil)
	book := &logBook{}
	s := newSyslog(t, SyslogConfig{Target: "syslog://" + r.address(), Logger: book.logger()})
	run(t, s)
	for i := range 20 {
		s.Emit(Line{Text: strconv.Itoa(i)})
		eventually(t, "the line arrives", func() bool { return len(r.texts()) == i+1 })
		r.hangUp()
		eventually(t, "so does the sender", func() bool { now, _ := r.connections(); return now == 0 })
	}
	assert.Empty(t, book.String(), "that is no failure")
}

// A receiver that reads nothing holds up nobody, neither those who emit nor the end.
func TestSyslogStalledReceiver(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close() // what it has accepted it leaves alone
	book := &logBook{}
	s := newSyslog(t, SyslogConfig{Target: "syslog://" + listener.Addr().String(), Logger: book.logger(),
		QueueBytes: 1 << 20, WriteTimeout: 50 * time.Millisecond, FlushTimeout: 50 * time.Millisecond})
	stop := run(t, s)
	text := strings.Repeat("x", 10_000)
	emitted := 0
	eventually(t, "the write is given up", func() bool {
		for range 50 { // soon more than sockets and queue take
			s.Emit(Line{Text: text})
			emitted++
		}
		return book.count("takes nothing any more") == 1
	})
	stop()
	stats := s.Stats()
	assert.EqualValues(t, emitted, stats.Sent+stats.Lost)
	assert.NotZero(t, stats.Lost)
	assert.NotZero(t, book.count("applog.lines.lost"))
}

// Who cannot be trusted gets nothing.
func TestSyslogTLSIsVerified(t *testing.T) {
	server, _ := testTLS(t)
	r := receive(t, "127.0.0.1:0", server)
	book := &logBook{}
	s := newSyslog(t, SyslogConfig{Target: "syslog-tls://" + r.address(), Logger: book.logger(), FlushTimeout: time.Millisecond})
	run(t, s)
	s.Emit(Line{Text: "x"})
	eventually(t, "the failure is told", func() bool { return book.count("certificate") > 0 })
	assert.Empty(t, r.texts())
}

// A receiver that talks without end is left.
func TestSyslogChattyReceiver(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	s := newSyslog(t, SyslogConfig{Target: "syslog://" + listener.Addr().String(), FlushTimeout: time.Millisecond})
	run(t, s)
	s.Emit(Line{Text: "x"})
	conn, err := listener.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(10*time.Second)))
	_, _ = conn.Write(bytes.Repeat([]byte("x"), maxChatter)) // all of it is read, no more
	eventually(t, "the sender connects anew", func() bool {
		s.Emit(Line{Text: "y"})
		require.NoError(t, listener.(*net.TCPListener).SetDeadline(time.Now().Add(10*time.Millisecond)))
		again, err := listener.Accept()
		if err == nil {
			again.Close()
		}
		return err == nil
	})
}

// A receiver whose machine is gone is noticed: the system was told how long to wait for it.
func TestSyslogDeadPeer(t *testing.T) {
	r := receive(t, "127.0.0.1:0", nil)
	conn, err := dialer(nil).DialContext(t.Context(), "tcp", r.address())
	require.NoError(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		timeout, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		assert.NoError(t, err)
		assert.Equal(t, 30_000, timeout)
	}))
}

func TestSyslogBackOff(t *testing.T) {
	d := &drain{syslog: &Syslog{cfg: SyslogConfig{}.withDefaults()}}
	var waits []time.Duration
	for range 12 {
		waits = append(waits, d.wait)
		require.True(t, d.pause(t.Context()), "the first attempt is not kept waiting")
	}
	assert.Equal(t, time.Minute, waits[11])
	for i := 2; i < len(waits); i++ {
		assert.Equal(t, min(2*waits[i-1], time.Minute), waits[i])
	}
}
