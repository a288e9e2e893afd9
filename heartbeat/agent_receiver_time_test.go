package heartbeat_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

// alone tells whether this is a process for this test only, and otherwise runs it in one. nats.go has one pool of timers, for
// reconnecting among others, and those of a bubble must not meet those of another.
func alone(t *testing.T) bool {
	t.Helper()
	const mark = "HEARTBEAT_TEST_ALONE"
	if os.Getenv(mark) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "2m")
	cmd.Env = append(os.Environ(), mark+"=1")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, string(output))
	require.Contains(t, string(output), "--- PASS: "+t.Name())
	return false
}

// A station is an AgentReceiver in a bubble, with what it told.
type station struct {
	t     *testing.T
	begin time.Time
	link  *link
	*bus

	mu   sync.Mutex
	told []string
}

// listen runs an AgentReceiver until the test ends. busy is called with each event.
func listen(t *testing.T, monitor heartbeat.AgentMonitorConfig, busy func(heartbeat.AgentEvent)) *station {
	s := &station{t: t, begin: time.Now(), bus: newBus(t)}
	conn, l := s.connect()
	s.link = l
	r, err := heartbeat.NewAgentReceiver(conn, heartbeat.AgentReceiverConfig{
		Monitor: heartbeat.NewAgentMonitor(monitor),
		Observe: func(event heartbeat.AgentEvent) {
			s.tell(event)
			if busy != nil {
				busy(event)
			}
		},
	})
	require.NoError(t, err)
	s.goRun(r.Run)
	synctest.Wait()
	return s
}

// goRun runs something until the test ends, or until stop is called.
func (s *station) goRun(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(s.t, <-ended)
	})
	s.t.Cleanup(stop)
	return stop
}

// agent runs an agent, with a heartbeat every 30 s.
func (s *station) agent(id string) (a *heartbeat.Agent, stop func()) {
	s.t.Helper()
	conn, _ := s.connect()
	a, err := heartbeat.NewAgent(conn, heartbeat.AgentConfig{ID: id, Collect: func(context.Context) messaging.AgentHeartbeat {
		return messaging.AgentHeartbeat{JobState: messaging.JobRunning}
	}})
	require.NoError(s.t, err)
	return a, s.goRun(a.Run)
}

// tell notes an event with its second, but for heartbeats that are neither the first nor the first after a loss.
func (s *station) tell(event heartbeat.AgentEvent) {
	what := ""
	switch event := event.(type) {
	case heartbeat.AgentBeat:
		switch {
		case event.Before.Seen.IsZero():
			what = "heard"
		case event.Before.Life == heartbeat.Lost:
			what = "back"
		default:
			return
		}
	case heartbeat.AgentLeft:
		what = "left"
	case heartbeat.AgentLost:
		what = "lost"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%s %s at %d", event.Status().ID, what, int(time.Since(s.begin).Seconds())))
}

// after lets time pass, and returns what was told meanwhile.
func (s *station) after(d time.Duration) []string {
	time.Sleep(d)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	return told
}

func TestAgentThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listen(t, heartbeat.AgentMonitorConfig{}, nil)
		_, stop := s.agent("a")
		s.agent("b")
		assert.ElementsMatch(t, []string{"a heard at 0", "b heard at 0"}, s.after(10*time.Minute+10*time.Second))
		stop() // its last heartbeat was at 600
		assert.Equal(t, []string{"a lost at 660"}, s.after(50*time.Second))
		assert.Empty(t, s.after(5*time.Minute), "once")
		_, stop = s.agent("a")
		assert.Equal(t, []string{"a back at 960"}, s.after(time.Minute))
		stop()
		assert.Equal(t, []string{"a lost at 1080"}, s.after(2*time.Minute))
	})
}

func TestAgentThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listen(t, heartbeat.AgentMonitorConfig{}, nil)
		a, stop := s.agent("a")
		assert.Equal(t, []string{"a heard at 0"}, s.after(10*time.Second))
		require.NoError(t, a.Shutdown(t.Context()))
		assert.Equal(t, []string{"a left at 10"}, s.after(3*time.Minute), "a drain takes its time")
		stop()
		assert.Empty(t, s.after(24*time.Hour))
	})
}

// The receiver's link is cut, while all agents go on.
func TestNobodyIsLostWithTheLink(t *testing.T) {
	if !alone(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		s := listen(t, heartbeat.AgentMonitorConfig{}, nil)
		s.agent("a")
		_, stop := s.agent("b")
		assert.Len(t, s.after(25*time.Second), 2)
		s.link.cut()
		assert.Empty(t, s.after(time.Hour))
		stop()
		s.link.mend()
		told := s.after(10 * time.Minute)
		require.Len(t, told, 1)
		assert.Regexp(t, `b lost at 36[89]\d`, told[0], "a minute after the link came back")

		s.link.cut()
		assert.Empty(t, s.after(20*time.Second))
		s.link.mend()
		assert.Empty(t, s.after(10*time.Minute), "b was lost before, and is not told once more")
	})
}

// The link is down for less than the time between two looks.
func TestLinkThatIsDownForAMoment(t *testing.T) {
	if !alone(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		s := listen(t, heartbeat.AgentMonitorConfig{}, nil)
		_, stop := s.agent("a")
		s.agent("b")
		assert.Len(t, s.after(30*time.Second+300*time.Millisecond), 2)
		s.link.cut()
		assert.Empty(t, s.after(200*time.Millisecond))
		s.link.mend()
		assert.Empty(t, s.after(70*time.Second))
		stop() // its last heartbeat was at 90
		assert.Equal(t, []string{"a lost at 150"}, s.after(10*time.Minute), "the moment is over")
	})
}

// The server does not answer any more, which nobody is told.
func TestNobodyIsLostWithADeadServer(t *testing.T) {
	if !alone(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		s := listen(t, heartbeat.AgentMonitorConfig{}, nil)
		s.agent("a")
		assert.Len(t, s.after(25*time.Second), 1)
		s.link.swallow()
		assert.Empty(t, s.after(time.Hour), "also when the connection was made anew meanwhile")
	})
}

// Whoever is slow to take what is told has not heard yet what was said.
func TestNobodyIsLostInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := true
		s := listen(t, heartbeat.AgentMonitorConfig{}, func(event heartbeat.AgentEvent) {
			if slow && event.Status().ID == "slow" {
				slow = false
				time.Sleep(10 * time.Minute)
			}
		})
		s.agent("a")
		assert.Len(t, s.after(10*time.Second), 1)
		_, stop := s.agent("slow")
		assert.Equal(t, []string{"slow heard at 10"}, s.after(time.Minute))
		stop()
		assert.Equal(t, []string{"slow lost at 670"}, s.after(11*time.Minute), "its heartbeats of before were heard at 610")
	})
}

// One that is back, and lost again while that is told.
func TestAgentIsLostInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listen(t, heartbeat.AgentMonitorConfig{}, func(event heartbeat.AgentEvent) {
			if beat, ok := event.(heartbeat.AgentBeat); ok && beat.Before.Life == heartbeat.Lost {
				time.Sleep(10 * time.Minute)
			}
		})
		_, stop := s.agent("a")
		synctest.Wait()
		stop()
		assert.Equal(t, []string{"a heard at 0", "a lost at 60"}, s.after(100*time.Second))
		_, stop = s.agent("a")
		synctest.Wait()
		stop()
		assert.Equal(t, []string{"a back at 100", "a lost at 700"}, s.after(20*time.Minute))
	})
}

// An agent that should be there and was never heard has its time from when somebody listens.
func TestListedAgentThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		monitor := heartbeat.NewAgentMonitor(heartbeat.AgentMonitorConfig{})
		monitor.Manage([]string{"a", "b"}, time.Now())
		s := &station{t: t, bus: newBus(t)}
		time.Sleep(time.Hour)
		s.begin = time.Now()
		conn, _ := s.connect()
		r, err := heartbeat.NewAgentReceiver(conn, heartbeat.AgentReceiverConfig{Monitor: monitor, Observe: func(event heartbeat.AgentEvent) {
			if rogue, ok := event.(heartbeat.AgentRogue); ok {
				assert.Equal(t, "c", rogue.ID)
				event = heartbeat.AgentLeft{AgentStatus: rogue.AgentStatus}
			}
			s.tell(event)
		}})
		require.NoError(t, err)
		s.goRun(r.Run)
		synctest.Wait()
		s.agent("a")
		s.agent("c")
		assert.ElementsMatch(t, []string{"a heard at 0", "c heard at 0", "b lost at 60", "c left at 120"}, s.after(time.Hour))
	})
}
