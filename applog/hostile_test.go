package applog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// secret makes a file outside of the container that nobody may see the content of.
func (g *guest) secret() (path, text string) {
	g.t.Helper()
	path, text = filepath.Join(filepath.Dir(g.root), "secret"), "do not tell\n"
	require.NoError(g.t, os.WriteFile(path, []byte(text), 0o600))
	return path, text
}

// logs makes the directory of the logs.
func (g *guest) logs() {
	g.t.Helper()
	require.NoError(g.t, os.MkdirAll(g.path(""), 0o755))
}

// Whatever stands where the log should be, nothing is read from it, nothing hangs, and a log that comes later is found.
func TestHostileFiles(t *testing.T) {
	for name, plant := range map[string]func(g *guest, secret string) error{
		"link to a file of the host": func(g *guest, secret string) error { return os.Symlink(secret, g.path(StdoutFile)) },
		"link to /etc/passwd":        func(g *guest, _ string) error { return os.Symlink("/etc/passwd", g.path(StdoutFile)) },
		"link up":                    func(g *guest, _ string) error { return os.Symlink("../../../../secret", g.path(StdoutFile)) },
		"link to a file of the container": func(g *guest, _ string) error {
			g.write("other", "x\n")
			return os.Symlink("other", g.path(StdoutFile))
		},
		"link to itself": func(g *guest, _ string) error { return os.Symlink(StdoutFile, g.path(StdoutFile)) },
		"FIFO":           func(g *guest, _ string) error { return unix.Mkfifo(g.path(StdoutFile), 0o644) },
		"directory":      func(g *guest, _ string) error { return os.Mkdir(g.path(StdoutFile), 0o755) },
		"socket": func(g *guest, _ string) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			dir, err := os.Open(g.path(""))
			if err != nil {
				return err
			}
			defer dir.Close()
			return unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), StdoutFile)}) // short enough
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, FollowerConfig{})
			secret, _ := g.secret()
			g.logs()
			require.NoError(t, plant(g, secret))
			g.follow(false)
			eventually(t, "it is told", func() bool { return g.log.count("stdout.log is not a regular file") == 1 })
			g.write(StderrFile, "the other one works\n")
			eventually(t, "the line", func() bool { return len(g.got.texts(Stderr)) == 1 })
			require.NoError(t, os.RemoveAll(g.path(StdoutFile)))
			g.write(StdoutFile, "at last\n")
			g.expect("at last")
		})
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A directory of the way leads out of the container.
func TestHostileDirectories(t *testing.T) {
	for name, plant := range map[string]func(g *guest, outside string) error{
		"link to a directory of the host": func(g *guest, outside string) error { return os.Symlink(outside, g.path("")) },
		"link up":                         func(g *guest, _ string) error { return os.Symlink("../../../outside", g.path("")) },
		"home is a link": func(g *guest, outside string) error {
			home := filepath.Join(g.root, "home")
			return firstError(os.RemoveAll(home), os.Symlink(filepath.Dir(outside), home))
		},
		"FIFO": func(g *guest, _ string) error { return unix.Mkfifo(g.path(""), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, FollowerConfig{})
			outside := filepath.Join(filepath.Dir(g.root), "outside")
			for _, dir := range []string{outside, filepath.Join(filepath.Dir(g.root), "vcap/logs")} {
				require.NoError(t, os.MkdirAll(dir, 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(dir, StdoutFile), []byte("do not tell\n"), 0o644))
			}
			require.NoError(t, plant(g, outside))
			g.follow(false)
			eventually(t, "it is told", func() bool { return g.log.count("applog.follow.failed") == 1 })
			g.stop()
			assert.Empty(t, g.got.all())
		})
	}
}

// An app swaps what has the name of its log as fast as it can; a link never gets through, and the log in between does.
func TestHostileSwaps(t *testing.T) {
	bothWays(t, FollowerConfig{}, func(t *testing.T, g *guest) {
		secret, text := g.secret()
		g.logs()
		g.follow(false)
		ctx, cancel := context.WithCancel(context.Background())
		var swapping sync.WaitGroup
		swapping.Go(func() {
			random := rand.New(rand.NewPCG(1, 2))
			for i := 0; ctx.Err() == nil; i++ {
				name := g.path("tmp" + strconv.Itoa(i%3))
				_ = os.Remove(name)
				switch random.IntN(3) {
				case 0:
					assert.NoError(t, os.Symlink(secret, name))
				case 1:
					assert.NoError(t, unix.Mkfifo(name, 0o644))
				default:
					assert.NoError(t, os.WriteFile(name, []byte("mine\n"), 0o644))
				}
				assert.NoError(t, os.Rename(name, g.path(StdoutFile)))
				if i%7 == 0 {
					assert.NoError(t, os.Rename(g.path(""), g.path("")+".old"))
					assert.NoError(t, os.Symlink(filepath.Dir(secret), g.path("")))
					assert.NoError(t, os.Remove(g.path("")))
					assert.NoError(t, os.Rename(g.path("")+".old", g.path("")))
				}
			}
		})
		eventually(t, "some of it is read", func() bool { return len(g.got.all()) >= 20 })
		cancel()
		swapping.Wait()
		g.stop()
		for _, line := range g.got.all() {
			require.Equal(t, "mine", line.Text)
		}
		assert.NotContains(t, g.log.String(), strings.TrimSpace(text))
		assert.LessOrEqual(t, g.log.count("applog.follow.failed"), 1, "not more than once a minute")
	})
}

// A thousand instances: three descriptors each, one goroutine each and one more, and nothing is left.
func TestThousandInstances(t *testing.T) {
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	instances := int(min(1000, (limit.Cur-100)/3))
	var got recorder
	f, err := NewFollower(FollowerConfig{}, &got)
	require.NoError(t, err)
	before := openFiles(t)
	tails, top := make([]*Tail, instances), t.TempDir()
	for i := range tails {
		root := filepath.Join(top, strconv.Itoa(i))
		require.NoError(t, os.MkdirAll(filepath.Join(root, LogDir), 0o755))
		tails[i], err = f.Follow(Log{Root: root, Origin: func() Line { return Line{Index: i} }})
		require.NoError(t, err)
		for _, name := range []string{StdoutFile, StderrFile} {
			require.NoError(t, os.WriteFile(filepath.Join(root, LogDir, name), fmt.Appendln(nil, i), 0o644))
		}
	}
	eventually(t, "all lines are read", func() bool { return len(got.all()) == 2*instances })
	assert.LessOrEqual(t, openFiles(t)-before, 3*instances+5)
	for _, line := range got.all() {
		assert.Equal(t, strconv.Itoa(line.Index), line.Text)
	}
	for _, tail := range tails {
		require.NoError(t, tail.Stop(t.Context()))
	}
	assert.LessOrEqual(t, openFiles(t), before+5, "what the runtime keeps")
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}
