package logging

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// A countingHandler counts what could not be written, as a slog.Logger has nobody to tell.
type countingHandler struct {
	slog.Handler
	lost *atomic.Uint64
}

func (h *countingHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if err != nil {
		h.lost.Add(1)
	}
	return err
}

func (h *countingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &countingHandler{h.Handler.WithAttrs(attrs), h.lost}
}

func (h *countingHandler) WithGroup(name string) slog.Handler {
	return &countingHandler{h.Handler.WithGroup(name), h.lost}
}
