package directory

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bothWays runs a test with inotify and with polling, at the same time: tests of tails wait more than they work.
func bothWays(t *testing.T, cfg Config, test func(t *testing.T, f *fixture)) {
	oneWay(t, cfg, func(t *testing.T, f *fixture) {
		t.Parallel()
		test(t, f)
	})
}

// oneWay does so one after the other, for tests that look at the whole process.
func oneWay(t *testing.T, cfg Config, test func(t *testing.T, f *fixture)) {
	for _, poll := range []bool{false, true} {
		t.Run(map[bool]string{false: "inotify", true: "polling"}[poll], func(t *testing.T) {
			f := newFixture(t, cfg)
			f.server.watcher.PollOnly = poll
			test(t, f)
		})
	}
}

// A tailClient reads a tail.
type tailClient struct {
	t    testing.TB
	resp *http.Response
	body *bufio.Reader
}

// tail begins a tail, which ends with the test at the latest.
func (f *fixture) tail(t testing.TB, path, more string) *tailClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", f.signed(path, "&tail"+more), nil)
	require.NoError(t, err)
	resp, err := f.client.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &tailClient{t, resp, bufio.NewReader(resp.Body)}
}

// expect reads exactly what is wanted.
func (c *tailClient) expect(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(c.body, got)
	require.NoError(c.t, err)
	require.Equal(c.t, want, string(got))
}

// rest reads to the end.
func (c *tailClient) rest() (string, error) {
	got, err := io.ReadAll(c.body)
	return string(got), err
}

func TestTailOffsets(t *testing.T) {
	bothWays(t, Config{}, func(t *testing.T, f *fixture) {
		f.write("log", "0123456789")
		end := f.tail(t, "log", "")
		start := f.tail(t, "log", "&tail_offset=0")
		middle := f.tail(t, "log", "=1&tail_offset=7&tail_offset=2")
		beyond := f.tail(t, "log", "&tail_offset=12")
		for _, c := range []*tailClient{end, start, middle, beyond} {
			assert.Equal(t, 200, c.resp.StatusCode)
			assert.Equal(t, []string{"chunked"}, c.resp.TransferEncoding)
			assert.Equal(t, "text/plain; charset=utf-8", c.resp.Header.Get("Content-Type"))
			assert.Equal(t, "nosniff", c.resp.Header.Get("X-Content-Type-Options"))
		}
		start.expect("0123456789")
		middle.expect("789")
		f.append("log", "abcdef")
		end.expect("abcdef")
		start.expect("abcdef")
		middle.expect("abcdef")
		beyond.expect("cdef")
	})
}

func TestTailBadOffset(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "x")
	for _, offset := range []string{"abc", "-1", strings.Repeat("9", 31), "", "1.5"} {
		resp, body := f.do("GET", f.signed("log", "&tail&tail_offset="+offset))
		assert.Equal(t, 500, resp.StatusCode, offset)
		assert.Equal(t, "Can't serve request due to error: Tail offset must be a positive integer.", body, offset)
	}
}

func TestTailOfDirectory(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "x")
	resp, body := f.do("GET", f.signed("/", "&tail&tail_offset=abc"))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "log                                         1B\n", body)
}

func TestTailHead(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "x")
	resp, body := f.do("HEAD", f.signed("log", "&tail&tail_offset=0"))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Empty(t, body)
}

// The header comes though the file is silent, and data comes at once. Medians, as a loaded machine delays single ones.
func TestTailPromptness(t *testing.T) {
	bothWays(t, Config{}, func(t *testing.T, f *fixture) {
		f.write("log", "")
		var header, data []time.Duration
		for range 11 {
			start := time.Now()
			c := f.tail(t, "log", "")
			header = append(header, time.Since(start))
			for range 3 {
				start = time.Now()
				f.append("log", "line\n")
				c.expect("line\n")
				data = append(data, time.Since(start))
			}
			require.NoError(t, c.resp.Body.Close())
		}
		slices.Sort(header)
		slices.Sort(data)
		assert.Less(t, header[len(header)/2], 200*time.Millisecond)
		assert.Less(t, data[len(data)/2], 200*time.Millisecond)
	})
}

func TestTailIdle(t *testing.T) {
	const idle = time.Second
	bothWays(t, Config{StreamingTimeout: idle}, func(t *testing.T, f *fixture) {
		f.write("log", "a")
		c := f.tail(t, "log", "&tail_offset=0")
		c.expect("a")
		start := time.Now()
		for time.Since(start) < idle*3/2 { // data keeps it going for longer than that
			time.Sleep(idle / 20)
			f.append("log", "b")
			c.expect("b")
		}
		start = time.Now()
		rest, err := c.rest()
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Empty(t, rest)
		assert.InDelta(t, idle.Seconds(), time.Since(start).Seconds(), 1)
	})
}

// A neighbour that is written to does not keep an idle tail going.
func TestTailIdleDespiteSibling(t *testing.T) {
	f := newFixture(t, Config{StreamingTimeout: 300 * time.Millisecond})
	f.write("log", "")
	f.write("other", "")
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				_ = os.WriteFile(filepath.Join(f.root, "other"), []byte("x"), 0o600)
				_ = os.Chtimes(filepath.Join(f.root, "log"), time.Time{}, time.Now()) // an event without data
			}
		}
	})
	defer writer.Wait()
	defer close(stop)
	_, err := f.tail(t, "log", "").rest()
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestTailEndsWithTheFile(t *testing.T) {
	endings := map[string]func(path string) error{
		"rename":   func(path string) error { return os.Rename(path, path+".1") },
		"move":     func(path string) error { return os.Rename(path, filepath.Dir(path)+"/../log") },
		"deletion": os.Remove,
		"replacement": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("new"), 0o600), os.Rename(path+".new", path))
		},
		"deletion of one of two names": func(path string) error {
			return errors.Join(os.Link(path, path+".link"), os.Remove(path))
		},
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, Config{}, func(t *testing.T, f *fixture) {
				path := f.write("logs/log", "a")
				c := f.tail(t, "logs/log", "&tail_offset=0")
				c.expect("a")
				f.append("logs/log", "the last words")
				require.NoError(t, end(path))
				rest, err := c.rest()
				assert.NoError(t, err, "a proper end")
				assert.Equal(t, "the last words", rest)
			})
		})
	}
}

func TestTailOutlivesSiblings(t *testing.T) {
	bothWays(t, Config{}, func(t *testing.T, f *fixture) {
		path := f.write("logs/log", "a")
		c := f.tail(t, "logs/log", "&tail_offset=0")
		c.expect("a")
		require.NoError(t, os.Link(path, filepath.Join(f.root, "logs/hard")))
		for _, name := range []string{"logs/other", "logs/hard"} {
			if name == "logs/other" {
				f.write(name, "x")
			}
			require.NoError(t, os.Rename(filepath.Join(f.root, name), filepath.Join(f.root, name+".1")))
			require.NoError(t, os.Remove(filepath.Join(f.root, name+".1")))
		}
		for range 2 { // the second only comes if the first did not end it
			f.append("logs/log", "b")
			c.expect("b")
		}
	})
}

func TestTailOfTruncatedFile(t *testing.T) {
	bothWays(t, Config{}, func(t *testing.T, f *fixture) {
		path := f.write("log", "a long first text")
		c := f.tail(t, "log", "&tail_offset=0")
		c.expect("a long first text")
		require.NoError(t, os.Truncate(path, 6))
		c.expect("a long")
		f.append("log", " second text")
		c.expect(" second text")
	})
}

func TestTailOfMuchData(t *testing.T) {
	bothWays(t, Config{}, func(t *testing.T, f *fixture) {
		f.write("log", "")
		c := f.tail(t, "log", "&tail_offset=0")
		var writer sync.WaitGroup
		var want strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&want, "line %d\n", i)
		}
		writer.Go(func() {
			for part := range slices.Chunk([]byte(want.String()), 1000) {
				f.append("log", string(part))
			}
		})
		c.expect(want.String())
		writer.Wait()
	})
}

// A client of staging logs gives up after a while without data, and comes back with the number of bytes that it has.
func TestTailOfStagingLog(t *testing.T) {
	bothWays(t, Config{}, func(t *testing.T, f *fixture) {
		f.write("tmp/staged/logs/staging_task.log", "")
		f.registry.tasks["task"] = Tree{Dir: f.root, ContainerRoot: f.root}
		url := f.signer.StagingURL(f.url, "task", text("/tmp/staged/logs/staging_task.log"))
		var want strings.Builder
		for i := range 2000 {
			fmt.Fprintf(&want, "-----> step %d\n", i)
		}
		var writer sync.WaitGroup
		writer.Go(func() {
			for part := range slices.Chunk([]byte(want.String()), 97) {
				f.append("tmp/staged/logs/staging_task.log", string(part))
			}
		})
		var got []byte
		for ended := false; ; {
			resp, err := f.client.Get(url + "&tail&tail_offset=" + strconv.Itoa(len(got)))
			require.NoError(t, err)
			if resp.StatusCode != 200 {
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, 404, resp.StatusCode)
				require.JSONEq(t, `{"error":"Unknown staging task"}`, string(body))
				break
			}
			if len(got) < want.Len() {
				part := make([]byte, min(3001, want.Len()-len(got)))
				n, err := io.ReadAtLeast(resp.Body, part, 1)
				require.NoError(t, err)
				got = append(got, part[:n]...)
			}
			require.NoError(t, resp.Body.Close())
			if len(got) == want.Len() && !ended {
				f.registry.endTask("task")
				ended = true
			}
		}
		writer.Wait()
		assert.Equal(t, want.String(), string(got))
	})
}

func TestTailDisconnect(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "a")
	c := f.tail(t, "log", "&tail_offset=0")
	c.expect("a")
	require.Equal(t, 1, f.server.watcher.Followers())
	start := time.Now()
	require.NoError(t, c.resp.Body.Close())
	eventually(t, "the server notices", func() bool { return f.server.watcher.Followers() == 0 })
	assert.Less(t, time.Since(start), time.Second)
}

func TestTailAtClose(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "a")
	c := f.tail(t, "log", "&tail_offset=0")
	c.expect("a")
	f.server.Close()
	_, err := c.rest()
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	resp, _ := f.do("GET", f.signed("log", "&tail"))
	assert.Equal(t, 503, resp.StatusCode)
	resp, _ = f.get("log")
	assert.Equal(t, 200, resp.StatusCode, "files are still served")
	f.server.Close()
}
