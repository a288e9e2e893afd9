package signals

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"testing/synctest"
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
		End:    []func(){func() { done <- "end" }},
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
	self(syscall.SIGHUP)
	expect("hup")
	stop()
	assert.Equal(t, os.Signal(syscall.SIGUSR1), <-seen)
	assert.Equal(t, os.Signal(syscall.SIGTERM), <-seen)
}

// Each signal to end asks for more than the one before, and several at the same time, as far as anybody can tell, count as one.
func TestEnds(t *testing.T) {
	signal.Stop(Keep(syscall.SIGUSR1)) // what receives signals starts with the first one that is kept, and is to be no part of the test
	synctest.Test(t, func(t *testing.T) {
		kept := make(Kept)
		var done []string
		do := func(what string) func() { return func() { done = append(done, what) } }
		stop := kept.Obey(Orders{
			EndBy: []os.Signal{syscall.SIGTERM, syscall.SIGUSR2}, End: []func(){do("end"), do("abort"), do("at once")},
			Others: map[os.Signal]func(){syscall.SIGHUP: do("hup")},
		})
		kept <- syscall.SIGUSR2
		kept <- syscall.SIGTERM
		time.Sleep(AsOne - time.Nanosecond)
		kept <- syscall.SIGTERM
		kept <- syscall.SIGHUP
		time.Sleep(time.Nanosecond)
		kept <- syscall.SIGTERM
		for range 2 {
			kept <- syscall.SIGUSR2
			time.Sleep(AsOne)
			kept <- syscall.SIGUSR2
		}
		stop()
		assert.Equal(t, []string{"end", "hup", "abort", "at once", "at once"}, done)
	})
}
