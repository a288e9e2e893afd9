package signals

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.signal_recv"))
}

func TestObey(t *testing.T) {
	kept := Keep(syscall.SIGUSR1, syscall.SIGHUP)
	self := func(s syscall.Signal) { require.NoError(t, syscall.Kill(os.Getpid(), s)) }
	self(syscall.SIGUSR1) // before anybody obeys
	done := make(chan string, 10)
	seen := make(chan os.Signal, 10)
	stop := kept.Obey(Orders{
		End:    func() { done <- "end" },
		AtOnce: func() { done <- "at once" },
		Others: map[os.Signal]func(){syscall.SIGUSR1: func() { done <- "usr1" }, syscall.SIGHUP: func() { done <- "hup" }},
		Each:   func(s os.Signal) { seen <- s },
	})
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-done:
			assert.Equal(t, want, got)
		case <-time.After(30 * time.Second):
			t.Fatal("not " + want)
		}
	}
	expect("usr1")
	self(syscall.SIGTERM)
	expect("end")
	self(syscall.SIGINT) // at the same time, as far as anybody can tell
	self(syscall.SIGHUP)
	for got := ""; got != "hup"; {
		got = <-done
		assert.NotEqual(t, "end", got, "only once")
	}
	stop()
	assert.Equal(t, os.Signal(syscall.SIGUSR1), <-seen)
	assert.Equal(t, os.Signal(syscall.SIGTERM), <-seen)
}
