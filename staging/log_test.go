package staging

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type brokenWriter struct{ calls int }

func (w *brokenWriter) Write([]byte) (int, error) { w.calls++; return 0, errors.New("a fault") }

func TestLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	broken := &brokenWriter{}
	log, err := NewLog(name, LogOptions{MaxBytes: 20, Copy: broken})
	require.NoError(t, err)
	_, err = NewLog(name, LogOptions{})
	assert.ErrorIs(t, err, os.ErrExist)

	log.Line("-----> Begin %d", 1)
	n, err := log.Write([]byte("0123456789"))
	require.NoError(t, err)
	assert.Equal(t, 10, n)
	_, _ = log.Write([]byte("the last words\n"))
	log.Line("-----> End")
	assert.Equal(t, 1, broken.calls)

	want := "-----> Begin 1\n01234\n-----> The log has more than 20 bytes, the rest is left out\n-----> End\n"
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	assert.Equal(t, want, string(data))
	content, err := log.content()
	require.NoError(t, err)
	data, err = io.ReadAll(content)
	require.NoError(t, err)
	assert.Equal(t, want, string(data))
	assert.Equal(t, []string{"0123456789the last words"}, log.lastLines(), "also of what is left out")

	require.NoError(t, log.Close())
	require.NoError(t, log.Close())
	_, err = log.Write([]byte("late"))
	assert.NoError(t, err)
	_, err = log.content()
	assert.ErrorIs(t, err, errLogClosed)
}

func TestLogIsFilledByThePlatform(t *testing.T) {
	log, err := NewLog(filepath.Join(t.TempDir(), "log"), LogOptions{MaxBytes: 20})
	require.NoError(t, err)
	defer log.Close()
	_, _ = log.Write([]byte("0123456789"))
	log.Line("-----> End of the staging")
	_, _ = log.Write([]byte("the last words\n"))
	content, err := log.content()
	require.NoError(t, err)
	data, err := io.ReadAll(content)
	require.NoError(t, err)
	assert.Equal(t, "0123456789-----> End of the staging\n\n-----> The log has more than 20 bytes, the rest is left out\n", string(data))
}

func TestLogTail(t *testing.T) {
	log, err := NewLog("", LogOptions{})
	require.NoError(t, err)
	defer log.Close()
	assert.Empty(t, log.lastLines())
	for i := range 1000 {
		fmt.Fprintf(log, "line %d\n", i)
	}
	lines := log.lastLines()
	assert.Len(t, lines, 20)
	assert.Equal(t, "line 980", lines[0])
	assert.Equal(t, "line 999", lines[19])
	_, _ = io.WriteString(log, strings.Repeat("x", 100000)+"\nend\n")
	assert.Equal(t, []string{"end"}, log.lastLines())
}

func TestHumanSize(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0", 512: "512", 1024: "1.0K", 1025: "1.1K", 4096: "4.0K", 10188: "10K", 10240: "10K", 10241: "11K",
		1 << 20: "1.0M", 1<<20 - 1: "1.0M", 157 << 20: "157M", 5 << 30: "5.0G",
	} {
		assert.Equal(t, want, HumanSize(bytes), bytes)
	}
}
