package logging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/logging"
)

// record writes one record and returns the line as it is, and parsed.
func record(t *testing.T, with func(*slog.Logger) *slog.Logger, attrs ...slog.Attr) (string, map[string]any) {
	t.Helper()
	var out bytes.Buffer
	log := slog.New(logging.NewStenoHandler(&out, logging.LevelAll))
	if with != nil {
		log = with(log)
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "droplet.starting", attrs...)
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
	return out.String(), line
}

func TestStenoKeys(t *testing.T) {
	before := time.Now()
	text, line := record(t, nil, slog.String("droplet", "d1"))
	assert.InDelta(t, float64(before.UnixMicro())/1e6, line["timestamp"], 60)
	assert.Regexp(t, `^\{"timestamp":\d{10}\.\d{6},"message":`, text)
	assert.True(t, strings.HasSuffix(text, "}\n"))
	assert.Equal(t, float64(os.Getpid()), line["process_id"])
	assert.Contains(t, line["file"], "steno_test.go")
	assert.Positive(t, line["lineno"])
	assert.Equal(t, "record", line["method"])
	for _, key := range []string{"timestamp", "process_id", "file", "lineno", "method"} {
		delete(line, key)
	}
	assert.Equal(t, map[string]any{
		"message": "droplet.starting", "log_level": "info", "source": "logging_test",
		"data": map[string]any{"droplet": "d1"}, "thread_id": nil, "fiber_id": nil,
	}, line)
}

type method struct{}

func (*method) log(l *slog.Logger) { l.Info("x") }

func TestStenoPlaceOfAMethod(t *testing.T) {
	var out bytes.Buffer
	new(method).log(slog.New(logging.NewStenoHandler(&out, nil)))
	assert.Contains(t, out.String(), `"method":"(*method).log"`)
}

func TestStenoWithoutPlace(t *testing.T) {
	var out bytes.Buffer
	h := logging.NewStenoHandler(&out, nil)
	require.NoError(t, h.Handle(context.Background(), slog.NewRecord(time.Unix(1385000000, 5e8), slog.LevelWarn, "x", 0)))
	assert.JSONEq(t, fmt.Sprintf(`{"timestamp":1385000000.5,"message":"x","log_level":"warn","source":"","data":{},
		"thread_id":null,"fiber_id":null,"process_id":%d,"file":"","lineno":0,"method":""}`, os.Getpid()), out.String())
}

func TestStenoSource(t *testing.T) {
	_, line := record(t, func(l *slog.Logger) *slog.Logger { return l.With("source", "DEA", "index", 0) })
	assert.Equal(t, "DEA", line["source"])
	assert.Equal(t, map[string]any{"index": 0.0}, line["data"])

	_, line = record(t, func(l *slog.Logger) *slog.Logger { return l.With("source", "DEA").With("source", "Instance") })
	assert.Equal(t, "Instance", line["source"])

	_, line = record(t, func(l *slog.Logger) *slog.Logger { return l.WithGroup("url").With("source", "https://x") })
	assert.Equal(t, "logging_test", line["source"])
	assert.Equal(t, map[string]any{"url": map[string]any{"source": "https://x"}}, line["data"])
}

type secretive struct{ password string }

func (secretive) LogValue() slog.Value { return slog.StringValue("(hidden)") }

type asJSON map[string]int

type faulty struct{}

func (faulty) MarshalJSON() ([]byte, error) { panic("oh") }

type failing struct{}

func (failing) MarshalJSON() ([]byte, error) { return nil, errors.New("no") }

func (failing) Error() string { return "text" }

func TestStenoValues(t *testing.T) {
	address, err := url.Parse("nats://user:secret@10.0.0.1:4222")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		value any
		want  string // JSON
	}{
		"text":             {"a\"b\\c\n\t\x00\x7fé€😀", `"a\"b\\c\n\t\u0000\u007fé€😀"`},
		"text not UTF-8":   {"a\xffb\xc3", `"a\ufffdb\ufffd"`},
		"int":              {-3, `-3`},
		"uint":             {uint64(math.MaxUint64), `18446744073709551615`},
		"float":            {0.25, `0.25`},
		"large float":      {1e300, `1e300`},
		"not a number":     {math.NaN(), `"NaN"`},
		"infinite":         {math.Inf(-1), `"-Inf"`},
		"bool":             {true, `true`},
		"duration":         {1500 * time.Millisecond, `1.5`},
		"time":             {time.Date(2014, 2, 28, 1, 2, 3, 4, time.UTC), `"2014-02-28T01:02:03.000000004Z"`},
		"error":            {fmt.Errorf("stop: %w", io.EOF), `"stop: EOF"`},
		"URL":              {address, `"nats://10.0.0.1:4222"`},
		"URL value":        {*address, `"nats://10.0.0.1:4222"`},
		"no URL":           {(*url.URL)(nil), `null`},
		"hides itself":     {secretive{"secret"}, `"(hidden)"`},
		"list":             {[]string{"a", "b"}, `["a","b"]`},
		"map":              {asJSON{"a": 1}, `{"a":1}`},
		"nil":              {nil, `null`},
		"panics":           {faulty{}, `"!PANIC: oh"`},
		"nil that panics":  {(*faulty)(nil), `null`},
		"cannot be JSON":   {make(chan int), `"!ERROR: json: unsupported type: chan int"`},
		"error of its own": {failing{}, `"!ERROR: json: error calling MarshalJSON for type logging_test.failing: no"`},
	} {
		t.Run(name, func(t *testing.T) {
			text, _ := record(t, nil, slog.Any("v", c.value))
			var line struct{ Data map[string]json.RawMessage }
			require.NoError(t, json.Unmarshal([]byte(text), &line))
			assert.JSONEq(t, c.want, string(line.Data["v"]))
			assert.NotContains(t, text, "secret")
		})
	}
}

func TestStenoGroups(t *testing.T) {
	_, line := record(t, func(l *slog.Logger) *slog.Logger {
		return l.With("a", 1).WithGroup("g").With("b", 2, slog.Group("h", "c", 3)).WithGroup("empty").WithGroup("k")
	}, slog.Int("d", 4), slog.Group("", slog.Int("e", 5)), slog.Group("none", slog.Group("inner")), slog.Attr{})
	assert.Equal(t, map[string]any{"a": 1.0, "g": map[string]any{
		"b": 2.0, "h": map[string]any{"c": 3.0},
		"empty": map[string]any{"k": map[string]any{"d": 4.0, "e": 5.0}},
	}}, line["data"])

	_, line = record(t, func(l *slog.Logger) *slog.Logger { return l.WithGroup("g").WithGroup("h") }, slog.Group("none"))
	assert.Equal(t, map[string]any{}, line["data"])
}

// Loggers that are made from one must not write into each other's attributes.
func TestStenoBranches(t *testing.T) {
	var out bytes.Buffer
	base := slog.New(logging.NewStenoHandler(&out, nil)).With("a", 1).WithGroup("g")
	left, right := base.With("l", 1).WithGroup("x"), base.With("r", 2).WithGroup("y")
	left.Info("m", "k", 1)
	right.Info("m", "k", 2)
	base.Info("m", "k", 3)
	for _, want := range []string{`{"a":1,"g":{"l":1,"x":{"k":1}}}`, `{"a":1,"g":{"r":2,"y":{"k":2}}}`, `{"a":1,"g":{"k":3}}`} {
		line, err := out.ReadString('\n')
		require.NoError(t, err)
		assert.Contains(t, line, `"data":`+want)
	}
}

func TestSlogContract(t *testing.T) {
	t.Run("steno", func(t *testing.T) {
		var out bytes.Buffer
		slogtest.Run(t, func(*testing.T) slog.Handler {
			out.Reset()
			return logging.NewStenoHandler(&out, nil)
		}, func(t *testing.T) map[string]any {
			var line map[string]any
			require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
			result := map[string]any{slog.MessageKey: line["message"], slog.LevelKey: line["log_level"]}
			if at, ok := line["timestamp"]; ok {
				result[slog.TimeKey] = at
			}
			maps.Copy(result, line["data"].(map[string]any))
			return result
		})
	})
	t.Run("json", func(t *testing.T) {
		var out bytes.Buffer
		slogtest.Run(t, func(*testing.T) slog.Handler {
			out.Reset()
			return logging.NewJSONHandler(&out, nil)
		}, func(t *testing.T) map[string]any {
			var line map[string]any
			require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
			return line
		})
	})
}

func TestStenoLinesStayWhole(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(logging.NewStenoHandler(&out, nil))
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			mine := log.With("writer", i)
			for range 50 {
				mine.Info(strings.Repeat("x", 100*i))
			}
		})
	}
	writers.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	assert.Len(t, lines, 400)
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

// The standard library writes the same strings, if not byte by byte.
func FuzzStenoString(f *testing.F) {
	f.Add("a\"b\\\x00\xff\u2028é")
	f.Fuzz(func(t *testing.T, s string) {
		reference, err := json.Marshal(map[string]string{s + "k": s})
		require.NoError(t, err)
		var want map[string]any
		require.NoError(t, json.Unmarshal(reference, &want))
		_, line := record(t, nil, slog.String(s+"k", s))
		assert.Equal(t, want, line["data"])
	})
}
