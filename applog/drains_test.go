package applog

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func anywhere(netip.AddrPort) bool { return true }

// Lines go to the drains of their own app and to the operator's target, and to no others.
func TestDrains(t *testing.T) {
	server, client := testTLS(t)
	operator, plain, secure := receive(t, "127.0.0.1:0", nil), receive(t, "127.0.0.1:0", nil), receive(t, "127.0.0.1:0", server)
	book := &logBook{}
	s := newSyslog(t, SyslogConfig{Target: "syslog://" + operator.address(), Drains: true, AllowDrain: anywhere,
		TLS: client, Logger: book.logger()})
	run(t, s)
	one := []string{"syslog://user:secret@" + plain.address() + "?secret"}
	two := []string{one[0], "syslog-tls://" + secure.address()}
	s.Emit(Line{App: "a", Text: "none"})
	s.Emit(Line{App: "b", Text: "one", Drains: one})
	s.Emit(Line{App: "c", Text: "two", Drains: two})
	eventually(t, "all lines arrive", func() bool {
		return len(operator.texts()) == 3 && len(plain.texts()) == 2 && len(secure.texts()) == 1
	})
	assert.Equal(t, []string{"one", "two"}, plain.texts())
	assert.Equal(t, []string{"two"}, secure.texts())
	eventually(t, "all lines are counted", func() bool { return s.Stats() == Stats{Sent: 6} })
	assert.Empty(t, book.String())
}

func TestDrainsAreOptIn(t *testing.T) {
	operator, drain := receive(t, "127.0.0.1:0", nil), receive(t, "127.0.0.1:0", nil)
	s := newSyslog(t, SyslogConfig{Target: "syslog://" + operator.address(), AllowDrain: anywhere})
	stop := run(t, s)
	s.Emit(Line{Text: "x", Drains: []string{"syslog://" + drain.address()}})
	stop()
	eventually(t, "the line arrives", func() bool { return len(operator.texts()) == 1 })
	_, ever := drain.connections()
	assert.Zero(t, ever)
}

// A drain that points into the node or its network is not connected to, also when a name hides where it points.
func TestDrainAddressIsChecked(t *testing.T) {
	victim := receive(t, "127.0.0.1:0", nil)
	port := victim.listener.Addr().(*net.TCPAddr).Port
	book := &logBook{}
	s := newSyslog(t, SyslogConfig{Drains: true, Logger: book.logger(), FlushTimeout: time.Millisecond})
	stop := run(t, s)
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		s.Emit(Line{Text: "x", Drains: []string{fmt.Sprintf("syslog://%s:%d", host, port)}})
	}
	eventually(t, "all are refused", func() bool { return book.count(ErrAddress.Error()) == 4 })
	stop()
	_, ever := victim.connections()
	assert.Zero(t, ever)
	assert.Equal(t, Stats{Lost: 4}, s.Stats())
}

// What is no syslog URL, or asks for datagrams to anywhere, is not served; nor are more drains than are allowed. Both are
// counted and told, without the URL.
func TestDrainsRefused(t *testing.T) {
	r := receive(t, "127.0.0.1:0", nil)
	book := &logBook{}
	s := newSyslog(t, SyslogConfig{Drains: true, AllowDrain: anywhere, MaxDrains: 1, Logger: book.logger()})
	stop := run(t, s)
	for _, url := range []string{"", "https://secret.example.com", "syslog-udp://" + r.address(), "syslog://secret:x"} {
		s.Emit(Line{Text: "x", Drains: []string{url}})
	}
	s.Emit(Line{Text: "served", Drains: []string{"syslog://" + r.address()}})
	s.Emit(Line{Text: "x", Drains: []string{"syslog://" + r.address() + "/too-many"}})
	s.Emit(Line{Text: "once", Drains: []string{"syslog://" + r.address(), "syslog://" + r.address()}})
	stop()
	eventually(t, "lines arrive", func() bool { return len(r.texts()) == 2 })
	assert.Equal(t, Stats{Sent: 2, Lost: 5}, s.Stats())
	assert.Contains(t, book.String(), "lost=5")
	assert.NotContains(t, book.String(), "secret")
}

// One app cannot take all drains for itself.
func TestDrainsOfOneLine(t *testing.T) {
	r := receive(t, "127.0.0.1:0", nil)
	s := newSyslog(t, SyslogConfig{Drains: true, AllowDrain: anywhere})
	var urls []string
	for i := range 50 {
		urls = append(urls, fmt.Sprintf("syslog://%s/%d", r.address(), i))
	}
	stop := run(t, s)
	for range 10 {
		s.Emit(Line{Text: "x", Drains: urls})
	}
	stop()
	eventually(t, "lines arrive", func() bool { return len(r.texts()) == 10*drainsOfLine })
	_, ever := r.connections()
	assert.Equal(t, drainsOfLine, ever)
}

// A drain that nothing is sent to is given up, makes room for another, and is taken up again.
func TestIdleDrains(t *testing.T) {
	receivers := []*receiver{receive(t, "127.0.0.1:0", nil), receive(t, "127.0.0.1:0", nil)}
	s := newSyslog(t, SyslogConfig{Drains: true, AllowDrain: anywhere, MaxDrains: 1, DrainIdle: 20 * time.Millisecond})
	run(t, s)
	for round := range 6 {
		r := receivers[round%2]
		require.Equal(t, round, int(s.Stats().Sent))
		s.Emit(Line{Text: "x", Drains: []string{"syslog://" + r.address()}})
		eventually(t, "the line arrives", func() bool { return len(r.texts()) == round/2+1 })
		eventually(t, "the connection ends", func() bool { now, _ := r.connections(); return now == 0 })
		eventually(t, "there is room", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.drains) == 0
		})
	}
}

// A drain that cannot be reached is given up, too, when its app has nothing more to say: others need the room.
func TestDeadDrains(t *testing.T) {
	r := receive(t, "127.0.0.1:0", nil)
	s := newSyslog(t, SyslogConfig{Drains: true, MaxDrains: 1, DrainIdle: 20 * time.Millisecond, RetryWait: time.Millisecond,
		AllowDrain: func(to netip.AddrPort) bool { return to.String() == r.address() }})
	run(t, s)
	s.Emit(Line{Text: "x", Drains: []string{"syslog://127.0.0.1:9"}})
	eventually(t, "there is room", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.drains) == 0
	})
	assert.Equal(t, Stats{Lost: 1}, s.Stats())
	s.Emit(Line{Text: "x", Drains: []string{"syslog://" + r.address()}})
	eventually(t, "the line arrives", func() bool { return len(r.texts()) == 1 })
}

// Many callers, many drains that come and go: no line is lost or doubled as long as there is room.
func TestDrainsAreRetiredWithoutLoss(t *testing.T) {
	r := receive(t, "127.0.0.1:0", nil)
	s := newSyslog(t, SyslogConfig{Drains: true, AllowDrain: anywhere, DrainIdle: time.Microsecond})
	stop := run(t, s)
	const lines = 3000
	for i := range lines {
		s.Emit(Line{Text: fmt.Sprint(i), Drains: []string{fmt.Sprintf("syslog://%s/%d", r.address(), i%7)}})
	}
	stop()
	assert.Equal(t, Stats{Sent: lines}, s.Stats())
	eventually(t, "all lines arrive", func() bool { return len(r.texts()) == lines })
	seen := map[string]bool{}
	for _, text := range r.texts() {
		assert.False(t, seen[text], text)
		seen[text] = true
	}
}
