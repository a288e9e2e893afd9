package applog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A guest is an instance whose log a test writes and follows.
type guest struct {
	t    testing.TB
	root string
	got  recorder
	log  logBook
	f    *Follower
	tail *Tail

	looks atomic.Int64 // that were begun
}

// newGuest makes a container that has no directory for logs yet, and follows nothing.
func newGuest(t testing.TB, cfg FollowerConfig) *guest {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	g := &guest{t: t, root: filepath.Join(root, "rootfs")}
	require.NoError(t, os.MkdirAll(filepath.Join(g.root, "home/vcap"), 0o755))
	cfg.Logger = g.log.logger()
	g.f, err = NewFollower(cfg, &g.got)
	require.NoError(t, err)
	return g
}

// follow follows until the end of the test, at the latest.
func (g *guest) follow(fromEnd bool) {
	g.t.Helper()
	var err error
	g.tail, err = g.f.Follow(Log{Root: g.root, FromEnd: fromEnd, Origin: func() Line {
		g.looks.Add(1)
		return Line{App: "guid", Instance: "c623", Index: 3, Drains: []string{"syslog://h"}}
	}})
	require.NoError(g.t, err)
	g.t.Cleanup(func() { assert.NoError(g.t, g.tail.Stop(context.Background())) })
}

func (g *guest) stop() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(g.t, g.tail.Stop(ctx))
}

func (g *guest) path(name string) string { return filepath.Join(g.root, LogDir, name) }

func (g *guest) write(name, text string) {
	g.t.Helper()
	require.NoError(g.t, os.MkdirAll(g.path(""), 0o755))
	f, err := os.OpenFile(g.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(g.t, err)
	_, err = f.WriteString(text)
	require.NoError(g.t, err)
	require.NoError(g.t, f.Close())
}

// expect waits for the texts on stdout so far.
func (g *guest) expect(texts ...string) {
	g.t.Helper()
	if !assert.Eventually(g.t, func() bool { return len(g.got.texts(Stdout)) >= len(texts) }, 15*time.Second, time.Millisecond) {
		g.t.Log(g.log.String())
	}
	require.Equal(g.t, texts, g.got.texts(Stdout))
}

// bothWays runs a test with inotify and without.
func bothWays(t *testing.T, cfg FollowerConfig, test func(t *testing.T, g *guest)) {
	for name, poll := range map[string]bool{"inotify": false, "polling": true} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, cfg)
			g.f.watcher.PollOnly = poll
			test(t, g)
		})
	}
}

func TestFollow(t *testing.T) {
	bothWays(t, FollowerConfig{}, func(t *testing.T, g *guest) {
		g.follow(false)
		g.write(StdoutFile, "one\ntwo\n")
		g.expect("one", "two")
		g.write(StderrFile, "oops\n")
		g.write(StdoutFile, "thr")
		g.write(StdoutFile, "ee\n\nno end")
		g.expect("one", "two", "three", "")
		g.stop()
		g.expect("one", "two", "three", "", "no end")
		assert.Equal(t, []string{"oops"}, g.got.texts(Stderr))
		for _, line := range g.got.all() {
			assert.Equal(t, Line{Time: line.Time, App: "guid", Instance: "c623", Index: 3, Source: App, Stream: line.Stream,
				Text: line.Text, Drains: []string{"syslog://h"}}, line)
			assert.WithinDuration(t, time.Now(), line.Time, time.Minute)
		}
		assert.Empty(t, g.log.String())
		g.stop() // once more is harmless
	})
}

// With inotify a line is there long before anyone would have looked again.
func TestFollowIsTold(t *testing.T) {
	g := newGuest(t, FollowerConfig{})
	g.follow(false)
	g.write(StdoutFile, "0\n")
	g.expect("0")
	require.NoError(t, os.Remove(g.path(StdoutFile)))
	g.write(StdoutFile, "1\n")
	g.expect("0", "1")
	assert.Equal(t, 1, g.f.watcher.Followers())
}

// What the files hold is left out when an earlier process has told it, and what comes is not, nor are files that come.
func TestFollowFromEnd(t *testing.T) {
	bothWays(t, FollowerConfig{}, func(t *testing.T, g *guest) {
		g.write(StdoutFile, "old\n")
		g.follow(true)
		eventually(t, "the first look is over", func() bool { return g.looks.Load() > 1 })
		g.write(StderrFile, "first of its file\n")
		eventually(t, "the other file is found", func() bool { return len(g.got.texts(Stderr)) == 1 })
		g.write(StdoutFile, "new\n")
		g.expect("new")
		require.NoError(t, os.Remove(g.path(StdoutFile)))
		g.write(StdoutFile, "newest\n")
		g.expect("new", "newest")
	})
}

func TestFollowTruncated(t *testing.T) {
	bothWays(t, FollowerConfig{}, func(t *testing.T, g *guest) {
		g.follow(false)
		g.write(StdoutFile, "a long first line\nand")
		g.expect("a long first line")
		require.NoError(t, os.Truncate(g.path(StdoutFile), 0))
		g.expect("a long first line", "and")
		g.write(StdoutFile, "new\n")
		g.expect("a long first line", "and", "new")
	})
}

// A rotated file is read to its end before the next one, and one that was deleted as long as somebody writes to it.
func TestFollowReplaced(t *testing.T) {
	bothWays(t, FollowerConfig{}, func(t *testing.T, g *guest) {
		g.follow(false)
		g.write(StdoutFile, "1\n")
		g.expect("1")
		old, err := os.OpenFile(g.path(StdoutFile), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		defer old.Close()
		require.NoError(t, os.Remove(g.path(StdoutFile)))
		_, err = old.WriteString("2\n")
		require.NoError(t, err)
		g.expect("1", "2")
		_, err = old.WriteString("3\n4")
		require.NoError(t, err)
		g.write(StdoutFile, "5\n")
		g.expect("1", "2", "3", "4", "5")

		g.write("next", "6\n")
		require.NoError(t, os.Rename(g.path("next"), g.path(StdoutFile)))
		g.expect("1", "2", "3", "4", "5", "6")
	})
}

// The whole directory is moved away, and another one comes.
func TestFollowReplacedDirectory(t *testing.T) {
	bothWays(t, FollowerConfig{}, func(t *testing.T, g *guest) {
		g.follow(false)
		g.write(StdoutFile, "1\n")
		g.expect("1")
		require.NoError(t, os.Rename(g.path(""), g.path("")+".old"))
		g.write(StdoutFile, "2\n")
		g.expect("1", "2")
		require.NoError(t, os.RemoveAll(g.path("")))
		g.write(StdoutFile, "3\n")
		g.expect("1", "2", "3")
	})
}

func TestFollowLongLines(t *testing.T) {
	g := newGuest(t, FollowerConfig{})
	long := strings.Repeat("0123456789", 15_000)
	g.write(StdoutFile, long+"\nshort\n")
	g.follow(false)
	g.stop()
	got := g.got.texts(Stdout)
	require.Len(t, got, 4)
	assert.Len(t, got[0], 60<<10)
	assert.Equal(t, long, strings.Join(got[:3], ""))
	assert.Equal(t, "short", got[3])
}

// Whoever writes faster than anybody can read loses what is older, and is told.
func TestFollowSkips(t *testing.T) {
	g := newGuest(t, FollowerConfig{MaxBehind: 1000})
	g.write(StdoutFile, strings.Repeat("0123456789abcde\n", 1000))
	g.follow(false)
	g.stop()
	assert.Len(t, strings.Join(g.got.texts(Stdout), "\n")+"\n", 1000)
	assert.Equal(t, []string{"Log of instance (index 3) is longer than can be read: 15000 bytes of stdout.log left out"}, g.got.texts(Stderr))
	assert.Equal(t, DEA, g.got.all()[len(g.got.all())-1].Source)
}

// A file of a terabyte that holds nothing is no work.
func TestFollowSparseFile(t *testing.T) {
	g := newGuest(t, FollowerConfig{})
	g.write(StdoutFile, "")
	require.NoError(t, os.Truncate(g.path(StdoutFile), 1<<40))
	g.follow(false)
	g.stop()
	eventually(t, "told", func() bool { return len(g.got.texts(Stderr)) > 0 })
	assert.LessOrEqual(t, len(strings.Join(g.got.texts(Stdout), "")), 8<<20)
}

// A process that goes on writing does not keep Stop from ending.
func TestFollowStopWhileWritten(t *testing.T) {
	g := newGuest(t, FollowerConfig{MaxBehind: 1 << 20})
	g.write(StdoutFile, "first\n")
	g.follow(false)
	var writing sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	writing.Go(func() {
		text := strings.Repeat(strings.Repeat("x", 99)+"\n", 1000)
		for ctx.Err() == nil {
			g.write(StdoutFile, text)
			if info, err := os.Stat(g.path(StdoutFile)); err == nil && info.Size() > 64<<20 {
				assert.NoError(t, os.Truncate(g.path(StdoutFile), 0))
			}
		}
	})
	g.expectSome()
	g.stop()
	cancel()
	writing.Wait()
}

func (g *guest) expectSome() {
	g.t.Helper()
	eventually(g.t, "a line", func() bool { return len(g.got.all()) > 0 })
}

// With no time to read, Stop says so, and has ended all the same.
func TestFollowStopInAHurry(t *testing.T) {
	g := newGuest(t, FollowerConfig{})
	g.write(StdoutFile, strings.Repeat("x\n", 4<<20))
	tail, err := g.f.Follow(Log{Root: g.root})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	assert.ErrorIs(t, tail.Stop(ctx), context.Canceled)
	assert.Zero(t, g.f.watcher.Followers())
}

func TestFollowRate(t *testing.T) {
	g := newGuest(t, FollowerConfig{LinesPerSecond: 100})
	for i := range 1000 {
		g.write(StdoutFile, strconv.Itoa(i)+"\n")
	}
	g.follow(false)
	g.stop()
	out, told := g.got.texts(Stdout), g.got.texts(Stderr)
	assert.GreaterOrEqual(t, len(out), 100)
	assert.Equal(t, "99", out[99])
	dropped := 0
	for _, text := range told {
		var n int
		_, err := fmt.Sscanf(text, "Log of instance (index 3) has more than 100 lines a second: %d lines left out", &n)
		require.NoError(t, err, text)
		dropped += n
	}
	assert.Equal(t, 1000, len(out)+dropped, "all lines are accounted for")
}

func TestLimiter(t *testing.T) {
	l := newLimiter(10)
	now := noon
	pass := func(n int) (passed int) {
		for range n {
			if l.allow() {
				passed++
			}
		}
		return passed
	}
	l.fill(now)
	assert.Equal(t, 10, pass(15))
	l.fill(now.Add(500 * time.Millisecond))
	assert.Equal(t, 5, pass(15))
	l.fill(now.Add(time.Hour))
	assert.Equal(t, 10, pass(15))
	assert.Equal(t, 20, l.dropped)
	l.fill(now) // a clock that goes back gives nothing
	assert.Zero(t, pass(1))
}

func TestFollowConfig(t *testing.T) {
	for _, cfg := range []FollowerConfig{{MaxLine: -1}, {LinesPerSecond: -1}, {MaxBehind: -1}} {
		_, err := NewFollower(cfg, Discard)
		assert.Error(t, err)
	}
	f, err := NewFollower(FollowerConfig{}, nil)
	require.NoError(t, err)
	_, err = f.Follow(Log{})
	assert.ErrorIs(t, err, ErrHidden)
}
