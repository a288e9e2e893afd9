package directory

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTailFollowsRotation(t *testing.T) {
	rotations := map[string]func(t *testing.T, path string){
		"rename": func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".1")) },
		"move": func(t *testing.T, path string) {
			require.NoError(t, os.MkdirAll(filepath.Dir(path)+"/old", 0o700))
			require.NoError(t, os.Rename(path, filepath.Dir(path)+"/old/log"))
		},
		"deletion": func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"rename, and an empty file at once": func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+".1"))
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		},
	}
	for name, rotate := range rotations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, Config{}, func(t *testing.T, f *fixture) {
				path := f.write("logs/log", "a")
				writer, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				require.NoError(t, err)
				defer writer.Close()
				c := f.tail(t, "logs/log", "&tail_offset=0&tail_follow")
				c.expect("a")
				for i := range 3 {
					rotate(t, path)
					// The writer has the old file still, and goes on with the new one in its own time.
					old := fmt.Sprintf("old %d\n", i)
					_, err := writer.WriteString(old)
					require.NoError(t, err)
					c.expect(old)
					_, err = writer.WriteString("last\n")
					require.NoError(t, err)
					require.NoError(t, writer.Close())
					writer, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
					require.NoError(t, err)
					_, err = writer.WriteString("new\n")
					require.NoError(t, err)
					c.expect("last\nnew\n")
				}
			})
		})
	}
}

// A link is what rotates: it points to another file, and the old one stays.
func TestTailFollowsLink(t *testing.T) {
	f := newFixture(t, Config{})
	layout(t, f.root, map[string]string{"one": "1", "two": "2", "current": "->one"})
	c := f.tail(t, "current", "&tail_offset=0&tail_follow=1")
	c.expect("1")
	require.NoError(t, os.Symlink("two", filepath.Join(f.root, "new")))
	require.NoError(t, os.Rename(filepath.Join(f.root, "new"), filepath.Join(f.root, "current")))
	c.expect("2")
	require.NoError(t, os.Remove(filepath.Join(f.root, "current")))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(f.root, "current")))
	f.append("two", "2 goes on as long as there is nothing else to see")
	c.expect("2 goes on as long as there is nothing else to see")
}

// With the whole tree the tail ends, and properly.
func TestTailFollowEndsWithTheTree(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "a")
	c := f.tail(t, "log", "&tail_offset=0&tail_follow")
	c.expect("a")
	require.NoError(t, os.RemoveAll(f.root))
	rest, err := c.rest()
	assert.NoError(t, err)
	assert.Empty(t, rest)
}

func TestTailFollowIdle(t *testing.T) {
	f := newFixture(t, Config{StreamingTimeout: 300 * time.Millisecond})
	path := f.write("log", "a")
	c := f.tail(t, "log", "&tail_offset=0&tail_follow")
	c.expect("a")
	require.NoError(t, os.Remove(path))
	_, err := c.rest()
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF, "something may still come")
}

// A tail of a file that is in its place looks seldom, one whose file is gone often.
func TestRotationClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := new(rotation).clock()
		defer clock.stop()
		for _, step := range []struct {
			gone bool
			want time.Duration
		}{{false, linkPace}, {true, rotationPace}, {true, rotationPace}, {false, linkPace}, {false, linkPace}} {
			start := time.Now()
			<-clock.ticks(step.gone)
			assert.Equal(t, step.want, time.Since(start))
		}
	})
	var none *rotation
	clock := none.clock()
	assert.Nil(t, clock.ticks(true))
	clock.stop()
}

// Every line comes once, while the log is rotated again and again under a writer that goes on.
func TestTailFollowLosesNothing(t *testing.T) {
	bothWays(t, Config{}, func(t *testing.T, f *fixture) {
		path := f.write("log", "")
		c := f.tail(t, "log", "&tail_offset=0&tail_follow")
		const files, lines = 5, 500
		var want strings.Builder
		for i := range files * lines {
			fmt.Fprintf(&want, "line %d\n", i)
		}
		seen := make(chan struct{}, files)
		var writer sync.WaitGroup
		writer.Go(func() {
			all := strings.SplitAfter(want.String(), "\n")
			for i := range files {
				file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
				if !assert.NoError(t, err) {
					return
				}
				for j, line := range all[i*lines : (i+1)*lines] {
					_, err := file.WriteString(line)
					assert.NoError(t, err)
					if j == lines/2 {
						<-seen // what is gone before it could be opened, nobody can send
						assert.NoError(t, os.Rename(path, fmt.Sprintf("%s.%d", path, i)))
					}
				}
				assert.NoError(t, file.Close())
			}
		})
		for i, line := range strings.SplitAfter(want.String(), "\n")[:files*lines] {
			c.expect(line)
			if i%lines == 0 {
				seen <- struct{}{}
			}
		}
		writer.Wait()
	})
}

// A file that was truncated and has grown past the position again, before anybody looked, is known for another one.
func TestStreamOfRewrittenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	rewrite := func(content string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	for _, c := range []struct{ name, before, after, want string }{
		{"longer", "first text\n", "another and longer text\n", "another and longer text\n"},
		{"as long", "first text\n", "other text\n", "other text\n"},
		{"shorter", "first text\n", "x\n", "x\n"},
		{"empty", "first text\n", "", ""},
		{"the same and more", "first text\n", "first text\nmore\n", "more\n"},
		{"much", strings.Repeat("0123456789abcdef\n", 10_000), strings.Repeat("fedcba9876543210\n", 20_000), strings.Repeat("fedcba9876543210\n", 20_000)},
		{"unchanged", "first text\n", "first text\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			rewrite(c.before)
			file, err := os.Open(path)
			require.NoError(t, err)
			defer file.Close()
			out := httptest.NewRecorder()
			s := stream{file: file, w: out, control: http.NewResponseController(out)}
			require.NoError(t, s.begin(t.Context()))
			sent, err := s.copyNew(t.Context())
			require.NoError(t, err)
			assert.True(t, sent)
			assert.Equal(t, c.before, out.Body.String())
			out.Body.Reset()
			rewrite(c.after)
			sent, err = s.copyNew(t.Context())
			require.NoError(t, err)
			assert.Equal(t, c.want, out.Body.String())
			assert.Equal(t, c.want != "", sent)
		})
	}
}

// A tail that begins in the middle knows what stood before it.
func TestStreamFromOffset(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, start := range []int64{-1, 3, 10, 12} {
		require.NoError(t, os.WriteFile(path, []byte("0123456789"), 0o600))
		file, err := os.Open(path)
		require.NoError(t, err)
		out := httptest.NewRecorder()
		s := stream{file: file, pos: start, w: out, control: http.NewResponseController(out)}
		require.NoError(t, s.begin(t.Context()))
		_, err = s.copyNew(t.Context())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, []byte("abcdefghijklmno"), 0o600))
		_, err = s.copyNew(t.Context())
		require.NoError(t, err)
		want := map[int64]string{-1: "abcdefghijklmno", 3: "3456789abcdefghijklmno", 10: "abcdefghijklmno", 12: "mno"}
		assert.Equal(t, want[start], out.Body.String(), start)
		require.NoError(t, file.Close())
	}
}

// A truncation right after the beginning of a tail, before anything was copied, is one too.
func TestStreamOfFileTruncatedAtTheBeginning(t *testing.T) {
	const line = "tick\n" // the same again and again: what stands before the position tells nothing
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat(line, 20)), 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	out := httptest.NewRecorder()
	s := stream{file: file, pos: -1, w: out, control: http.NewResponseController(out)}
	require.NoError(t, s.begin(t.Context()))
	for lines := range 30 {
		require.NoError(t, os.WriteFile(path, []byte(strings.Repeat(line, lines+1)), 0o600))
		if lines%2 == 0 {
			_, err = s.copyNew(t.Context())
			require.NoError(t, err)
		}
	}
	_, err = s.copyNew(t.Context())
	require.NoError(t, err)
	assert.Equal(t, strings.Repeat(line, 30), out.Body.String())
}
