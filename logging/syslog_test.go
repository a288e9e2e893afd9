package logging_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/logging"
)

// daemon listens as a system log does.
func daemon(t *testing.T, network, address string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func receive(t *testing.T, conn net.PacketConn) string {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, 64<<10)
	n, _, err := conn.ReadFrom(buf)
	require.NoError(t, err)
	return string(buf[:n])
}

// message returns what Steno put into a line of the system log.
func message(t *testing.T, line string) map[string]any {
	t.Helper()
	_, object, found := strings.Cut(line, "{")
	require.True(t, found, line)
	var parsed map[string]any
	require.NoError(t, json.Unmarshal([]byte("{"+object), &parsed), line)
	return parsed
}

func TestLocalSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn := daemon(t, "unixgram", path)
	log, output, err := logging.New(logging.Config{Level: "all", Syslog: "vcap.dea", SyslogAddress: "unixgram://" + path})
	require.NoError(t, err)
	defer output.Close()
	log = log.With("a", 1).WithGroup("g")
	for name, severity := range map[string]int{"fatal": 2, "error": 3, "warn": 4, "info": 6, "debug": 7, "debug1": 7, "debug2": 7} {
		level, err := logging.ParseLevel(name)
		require.NoError(t, err)
		log.Log(t.Context(), level, "line\nbreak", "b", 2)
		line := receive(t, conn)
		assert.Regexp(t, fmt.Sprintf(`^<%d>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d vcap\.dea\[%d\]: \{.*\}$`, 8+severity, os.Getpid()), line)
		parsed := message(t, line)
		assert.Equal(t, name, parsed["log_level"])
		assert.Equal(t, "line\nbreak", parsed["message"])
		assert.Equal(t, map[string]any{"a": 1.0, "g": map[string]any{"b": 2.0}}, parsed["data"])
	}
	assert.Zero(t, output.Lost())
}

func TestRemoteSyslog(t *testing.T) {
	conn := daemon(t, "udp", "127.0.0.1:0")
	log, output, err := logging.New(logging.Config{Syslog: "vcap dea", SyslogAddress: "udp://" + conn.LocalAddr().String(), Format: "text"})
	require.NoError(t, err)
	defer output.Close()
	log.Error("x")
	host, err := os.Hostname()
	require.NoError(t, err)
	assert.Regexp(t, fmt.Sprintf(`^<11>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d) \Q%s\E vcap_dea %d - - time=\S+ level=ERROR msg=x$`, host, os.Getpid()),
		receive(t, conn))
}

func TestFileAndSyslogBothGetEachLine(t *testing.T) {
	dir := t.TempDir()
	conn := daemon(t, "unixgram", filepath.Join(dir, "log"))
	log, output, err := logging.New(logging.Config{
		File: filepath.Join(dir, "dea.log"), Syslog: "dea", SyslogAddress: "unixgram://" + filepath.Join(dir, "log"),
	})
	require.NoError(t, err)
	defer output.Close()
	log.Info("x")
	written := read(t, filepath.Join(dir, "dea.log"))
	assert.Equal(t, strings.TrimSuffix(written, "\n"), "{"+strings.SplitN(receive(t, conn), "{", 2)[1])
}

func TestAbsentSyslogDoesNotKeepLinesFromTheFile(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "log")
	log, output, err := logging.New(logging.Config{File: filepath.Join(dir, "dea.log"), Syslog: "dea", SyslogAddress: "unixgram://" + socket})
	require.NoError(t, err)
	defer output.Close()
	log.Info("one")
	log.Info("two")
	assert.Equal(t, 2, strings.Count(read(t, filepath.Join(dir, "dea.log")), "\n"))
	assert.EqualValues(t, 2, output.Lost())
}

func TestSyslogComesBack(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	log, output, err := logging.New(logging.Config{Syslog: "dea", SyslogAddress: "unixgram://" + socket})
	require.NoError(t, err)
	defer output.Close()
	output.SetRetryPause(0)
	log.Info("lost")
	first := daemon(t, "unixgram", socket)
	log.Info("one")
	assert.Contains(t, receive(t, first), `"one"`)

	require.NoError(t, first.Close())
	require.NoError(t, os.Remove(socket))
	second := daemon(t, "unixgram", socket)
	log.Info("two")
	assert.Contains(t, receive(t, second), `"two"`)
	assert.EqualValues(t, 1, output.Lost())

	require.NoError(t, output.Close())
	log.Info("late")
	assert.EqualValues(t, 2, output.Lost())
}

// A daemon that reads nothing must not stop the program.
func TestSyslogThatHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	daemon(t, "unixgram", socket)
	log, output, err := logging.New(logging.Config{Syslog: "dea", SyslogAddress: "unixgram://" + socket})
	require.NoError(t, err)
	defer output.Close()
	for range 100_000 {
		log.Info("x")
		if output.Lost() > 10 {
			return
		}
	}
	t.Fatal("the socket takes everything")
}

func TestLongLinesAreCutForSyslog(t *testing.T) {
	conn := daemon(t, "udp", "127.0.0.1:0")
	log, output, err := logging.New(logging.Config{Syslog: "dea", SyslogAddress: "udp://" + conn.LocalAddr().String()})
	require.NoError(t, err)
	defer output.Close()

	log.Info("x" + strings.Repeat("é", 4000))
	parsed := message(t, receive(t, conn))
	assert.Equal(t, "x"+strings.Repeat("é", 1534)+"...", parsed["message"])

	log.Info("x", "long", strings.Repeat("y", 100_000))
	assert.Len(t, receive(t, conn), 32<<10)
	assert.Zero(t, output.Lost())
}

func TestSyslogAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"":                     "unixgram /dev/log",
		"unixgram:///run/log":  "unixgram /run/log",
		"udp://log.example":    "udp log.example:514",
		"udp://10.0.0.1:5140":  "udp 10.0.0.1:5140",
		"udp://[fd00::1]:5140": "udp [fd00::1]:5140",
		"udp://u:secret@h":     "",
		"udp://h:0":            "",
		"udp://h:70000":        "",
		"udp://h/path":         "",
		"tcp://h:514":          "",
		"unixgram://h/dev/log": "",
		"/dev/log":             "",
		"udp://secret\x7f:%zz": "",
	} {
		network, target, err := logging.ParseSyslogAddress(address)
		if want == "" {
			require.EqualError(t, err, "syslog address must be udp://host:port or unixgram:///path", address)
			continue
		}
		require.NoError(t, err, address)
		assert.Equal(t, want, network+" "+target)
	}
}
