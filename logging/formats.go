package logging

import (
	"io"
	"log/slog"
	"strings"
)

// NewJSONHandler writes lines as [slog.JSONHandler] does, with the level names and the rules for values of this package
// and the place of the program as "source".
func NewJSONHandler(w io.Writer, level slog.Leveler) *slog.JSONHandler {
	return slog.NewJSONHandler(w, &slog.HandlerOptions{AddSource: true, Level: level, ReplaceAttr: replaceInJSON})
}

func replaceInJSON(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key, a.Value.Duration().Seconds())
	}
	return replace(groups, a)
}

// NewTextHandler writes lines for people as [slog.TextHandler] does, with the level names and the rules for values of this
// package.
func NewTextHandler(w io.Writer, level slog.Leveler) *slog.TextHandler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: replace})
}

func replace(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindAny {
		return a
	}
	if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && len(groups) == 0 {
		return slog.String(a.Key, strings.ToUpper(LevelName(level)))
	}
	if text, ok := asURL(a.Value.Any()); ok {
		return slog.String(a.Key, text)
	}
	return a
}
