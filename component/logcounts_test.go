package component_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/deakit/deakit/component"
)

func TestLogCounts(t *testing.T) {
	var counts component.LogCounts
	var out bytes.Buffer
	log := slog.New(counts.Handler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug - 4})))
	log.Info("a")
	log.With("k", "v").WithGroup("g").Error("b", "x", 1)
	slog.New(counts.Handler(slog.NewTextHandler(&out, nil))).Error("c", "from", "another handler")
	for _, level := range []slog.Level{100, 12, 11, 7, 3, 0, -1, -4, -5, -8, -9} {
		log.Log(context.Background(), level, "d")
	}
	assert.Equal(t, map[string]int64{
		"fatal": 2, "error": 3, "warn": 1, "info": 3, "debug": 2, "debug1": 2, "debug2": 0,
	}, counts.Counts(), "-9 is not written and not counted")
	assert.Contains(t, out.String(), "msg=b k=v g.x=1", "attributes and groups reach the log")
	assert.Equal(t, 13, bytes.Count(out.Bytes(), []byte("\n")))
}
