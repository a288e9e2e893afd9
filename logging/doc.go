// Package logging turns the three lines "level, file, syslog" of a platform component's configuration into a
// [*slog.Logger], with the levels, the line format and the outputs of Steno, the logging library of the originals.
//
// [New] opens the outputs. [StenoHandler] is the format alone, for any writer; [NewJSONHandler] and [NewTextHandler] are
// slog's own two with the same levels and rules for values. All are plain slog handlers and can be wrapped.
//
// # Values
//
// An error is its text; a duration is its seconds as a number (in text: "1.5s"); a URL (url.URL) loses its user info; a
// [slog.LogValuer] decides for itself. Nothing else is hidden: whoever logs a secret as plain text finds it in the log.
//
// # What it is not
//
// It does not rotate files: logrotate does, and [Output.Reopen] goes with it. It is not for what apps print.
package logging
