package logging_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/logging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func TestStdoutIsTheDefault(t *testing.T) {
	var out bytes.Buffer
	log, output, err := logging.New(logging.Config{Stdout: &out})
	require.NoError(t, err)
	log.Debug("no")
	log.Info("yes", "k", "v")
	require.NoError(t, output.Reopen())
	require.NoError(t, output.Close())
	assert.True(t, json.Valid(out.Bytes()))
	assert.Contains(t, out.String(), `"message":"yes","log_level":"info"`)
	assert.NotContains(t, out.String(), `"no"`)
	assert.Zero(t, output.Lost())
}

func TestLevelsOfALogger(t *testing.T) {
	for level, want := range map[string]int{"off": 0, "fatal": 1, "error": 2, "warn": 3, "info": 4, "debug": 5, "debug1": 6, "debug2": 7, "all": 7} {
		var out bytes.Buffer
		log, _, err := logging.New(logging.Config{Level: level, Stdout: &out})
		require.NoError(t, err)
		for _, name := range logging.LevelNames()[1:8] {
			at, err := logging.ParseLevel(name)
			require.NoError(t, err)
			log.Log(t.Context(), at, name)
		}
		assert.Equal(t, want, strings.Count(out.String(), "\n"), level)
	}
}

func TestFormats(t *testing.T) {
	secret := &url.URL{Scheme: "https", User: url.UserPassword("u", "secret"), Host: "cc"}
	for format, want := range map[string]string{
		logging.FormatText: `level=FATAL msg=m after=1.5s url=https://cc error="no memory"`,
		logging.FormatJSON: `"msg":"m","after":1.5,"url":"https://cc","error":"no memory"`,
	} {
		var out bytes.Buffer
		log, _, err := logging.New(logging.Config{Format: format, Stdout: &out})
		require.NoError(t, err)
		log.Log(t.Context(), logging.LevelFatal, "m", "after", 1500*time.Millisecond, "url", secret, "error", errors.New("no memory"))
		assert.Contains(t, out.String(), want)
		assert.Contains(t, out.String(), "FATAL")
		assert.NotContains(t, out.String(), "secret")
	}
}

func TestRefusedConfigs(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "absent", "dea.log")
	for text, cfg := range map[string]logging.Config{
		"open log: unknown log level; choose one of off,":                             {Level: "loud"},
		"open log: unknown log format; choose one of steno, json, text":               {Format: "xml"},
		"open log: syslog address must be udp://host:port or unixgram:///path":        {Syslog: "dea", SyslogAddress: "tcp://u:secret@h"},
		"open log: log file: open " + missing + ": no such file or directory; give a": {File: missing},
	} {
		_, _, err := logging.New(cfg)
		require.ErrorContains(t, err, text)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestFileIsAppendedAndReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dea.log")
	require.NoError(t, os.WriteFile(path, []byte("before\n"), 0o640))
	log, output, err := logging.New(logging.Config{File: path})
	require.NoError(t, err)
	log.Info("one")
	require.NoError(t, os.Rename(path, path+".1"))
	log.Info("two")
	require.NoError(t, output.Reopen())
	log.Info("three")

	rotated := read(t, path+".1")
	assert.True(t, strings.HasPrefix(rotated, "before\n"))
	assert.Equal(t, 3, strings.Count(rotated, "\n"))
	assert.Contains(t, rotated, `"two"`)
	current := read(t, path)
	assert.Contains(t, current, `"three"`)
	assert.NotContains(t, current, `"two"`)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Zero(t, info.Mode().Perm()&^0o640)

	require.NoError(t, output.Close())
	require.NoError(t, output.Close())
	log.Info("late")
	assert.EqualValues(t, 1, output.Lost())
	require.ErrorIs(t, output.Reopen(), os.ErrClosed)
}

func TestReopenThatFailsKeepsTheFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.Mkdir(dir, 0o755))
	log, output, err := logging.New(logging.Config{File: filepath.Join(dir, "dea.log")})
	require.NoError(t, err)
	defer output.Close()
	require.NoError(t, os.Rename(dir, dir+".old"))
	require.ErrorIs(t, output.Reopen(), os.ErrNotExist)
	log.Info("still")
	assert.Contains(t, read(t, filepath.Join(dir+".old", "dea.log")), "still")
	assert.Zero(t, output.Lost())
}

func TestNoLineIsLostWhileReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dea.log")
	log, output, err := logging.New(logging.Config{File: path})
	require.NoError(t, err)
	defer output.Close()
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 200 {
				log.Info("x")
			}
		})
	}
	for range 50 {
		require.NoError(t, output.Reopen())
	}
	writers.Wait()
	assert.Equal(t, 800, strings.Count(read(t, path), "\n"))
	assert.Zero(t, output.Lost())
}
