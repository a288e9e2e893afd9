package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// asProgram makes the test binary behave as the program.
const asProgram = "TAP_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// A shared buffer takes what several goroutines write: the program and the callbacks of its connection.
type shared struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func TestProgramEndsOnSignalWithCounts(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		server := messagingtest.NewServer(t)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "--json")
		cmd.Env = append(os.Environ(), asProgram+"=1", "NATS_URL="+server.URL())
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		var stderr shared
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())

		stop := make(chan struct{})
		published := make(chan struct{})
		conn := server.Connect()
		go func() { // until one is heard: nobody tells when the program listens
			defer close(published)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					_ = messaging.DEALocate.Publish(conn, messaging.Signal{})
				}
			}
		}()
		line, err := bufio.NewReader(stdout).ReadString('\n')
		close(stop)
		<-published
		require.NoError(t, err, stderr.String())
		assert.Contains(t, line, `"subject":"dea.locate"`)

		require.NoError(t, cmd.Process.Signal(signal))
		require.NoError(t, cmd.Wait(), stderr.String())
		assert.Regexp(t, `(?m)^tap: [1-9]\d* messages, `, stderr.String())
	}
}

func TestExitCodes(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	url := messagingtest.NewServer(t).URL()
	for _, tc := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"--help"}, exitDone, "Exit codes: 0 ", ""},
		{[]string{"--nonsense"}, exitUsage, "", "tap --help"},
		{[]string{"superfluous"}, exitUsage, "", "tap --help"},
		{[]string{"--nats", "nats://user:sesame@"}, exitFailed, "", "must have the form nats://"},
		{[]string{"--nats", url, "--subject", "a..b"}, exitFailed, "", `"a..b"`},
		{[]string{"--nats", url, "--nats", url}, exitDone, "", "tap: 0 messages"},
		{[]string{"--nats", "nats://127.0.0.1:1"}, exitDone, "", "waiting for one"},
	} {
		var stdout, stderr shared
		assert.Equal(t, tc.code, run(ended, tc.args, false, &stdout, &stderr), "%v", tc.args)
		assert.Contains(t, stdout.String(), tc.stdout)
		assert.Contains(t, stderr.String(), tc.stderr)
		assert.NotContains(t, stderr.String(), "sesame")
	}
}
