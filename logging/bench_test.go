package logging_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/deakit/deakit/logging"
)

// BenchmarkHandlers compares the formats, each with the place of the program in the line.
func BenchmarkHandlers(b *testing.B) {
	for name, handler := range map[string]slog.Handler{
		"steno":     logging.NewStenoHandler(io.Discard, nil),
		"json":      logging.NewJSONHandler(io.Discard, nil),
		"slog.JSON": slog.NewJSONHandler(io.Discard, &slog.HandlerOptions{AddSource: true}),
	} {
		log := slog.New(handler).With("droplet", "b0e0d0b6-1f0f-4f27-8d54-6a6e5a5c5b6d", "index", 3)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				log.Info("droplet.starting", "instance", "4c9f0a", "took", 1500*time.Millisecond, "port", 61001)
			}
		})
	}
}
