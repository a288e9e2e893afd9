package applog

import (
	"errors"
	"log/slog"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/filewatch"
)

// The files that the start script of an app writes to, in a directory of its container (dea_ng until 2014).
const (
	LogDir     = container.AppHome + "/logs"
	StdoutFile = "stdout.log"
	StderrFile = "stderr.log"
)

// FollowerConfig says how logs are followed. The zero FollowerConfig is usable.
type FollowerConfig struct {
	// MaxLine bounds a line in bytes; default 60 KiB. A longer one becomes several.
	MaxLine int

	// LinesPerSecond bounds the lines of one instance, both streams together; 0 means no limit. What is above it is left
	// out, and a line of the DEA tells how much that was.
	LinesPerSecond int

	// MaxBehind bounds how much of one file may wait to be read, in bytes; default 8 MiB. An app that writes faster than
	// its log can be read, or a file that is that large to begin with, loses what is older, which a line of the DEA tells.
	MaxBehind int64

	Logger *slog.Logger // nil discards
}

// A Follower reads the log files of instances while they grow, and emits their lines. It is one goroutine for each instance
// and one for all, which exist only while there are instances; each instance takes three file descriptors.
//
// The files belong to apps, which are not trusted: nothing outside of the container's root is opened, links to files are not
// followed, and nothing but regular files is read.
type Follower struct {
	cfg     FollowerConfig
	emitter Emitter
	watcher filewatch.Watcher
}

// NewFollower returns a Follower that emits to emitter. It fails when a figure is negative.
func NewFollower(cfg FollowerConfig, emitter Emitter) (*Follower, error) {
	if cfg.MaxLine < 0 || cfg.LinesPerSecond < 0 || cfg.MaxBehind < 0 {
		return nil, errors.New("follow logs: MaxLine, LinesPerSecond and MaxBehind must not be negative; 0 is the default")
	}
	setDefault(&cfg.MaxLine, 60<<10)
	setDefault(&cfg.MaxBehind, 8<<20)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if emitter == nil {
		emitter = Discard
	}
	return &Follower{cfg: cfg, emitter: emitter}, nil
}

// A Log tells where the log files of one instance are, and whose they are.
type Log struct {
	// Root is the directory of the host that the container knows as "/": container.Info.HostRoot. Required.
	Root string

	// Dir is the path of the container that the files are in; default LogDir.
	Dir string

	// Origin is what the lines have besides time, stream and text. It is asked again and again, because an instance gets
	// another guid when its app gets another version, and must not block. Nil leaves lines without. The default source
	// is App.
	Origin func() Line

	// FromEnd leaves out what the files of the directory hold when it is first seen, as suits an instance that an earlier
	// process followed. Files that come later are read from their beginning all the same.
	FromEnd bool
}

// ErrHidden: the host cannot see the files of the container.
var ErrHidden = errors.New("the host cannot see the files of the container, so its log cannot be followed")

// Follow begins to follow the log of an instance; the files may be yet to come. The caller must Stop the Tail. It fails with
// ErrHidden only.
func (f *Follower) Follow(log Log) (*Tail, error) {
	if log.Root == "" {
		return nil, ErrHidden
	}
	setDefault(&log.Dir, LogDir)
	if log.Origin == nil {
		log.Origin = func() Line { return Line{} }
	}
	t := &Tail{follower: f, log: log, limiter: newLimiter(f.cfg.LinesPerSecond),
		stopping: make(chan struct{}), done: make(chan struct{})}
	t.streams = []*stream{newStream(StdoutFile, Stdout, t), newStream(StderrFile, Stderr, t)}
	go t.run()
	return t, nil
}
