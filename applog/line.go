package applog

import (
	"time"

	"github.com/deakit/deakit/messaging"
)

// A Line is one line of the log of an app.
type Line struct {
	Time     time.Time // when it was read or told; zero stands for the moment of Emit
	App      string    // guid
	Instance string    // guid; empty when the line belongs to no instance
	Index    int       // of the instance within the app
	Source   Source
	Stream   Stream

	// Text is the line without its end. It is what the app wrote: any bytes, also none.
	Text string

	// Drains are the syslog drain URLs of the app's services, which come from whoever bound those and can hold
	// secrets. Emitters do not change the slice, which many lines may share, and never log a URL whole.
	Drains []string
}

// Source tells which part of the platform a line comes from (Loggregator's source_type).
type Source = messaging.LogSource

// Sources of lines.
const (
	App     Source = "APP" // the app itself
	DEA     Source = "DEA" // the DEA, about the app
	Staging Source = "STG" // the staging of the app
)

// Stream tells which output of a process a line was written to.
type Stream = messaging.LogStream

// Streams of lines. A line with another one counts as Stdout.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// An Emitter sends lines somewhere. Emit never blocks and never fails: a line that cannot be kept until it is sent is
// lost, which the Emitter counts and tells in its own log. It may be called from several goroutines at once, and keeps
// the order of one caller's lines.
type Emitter interface {
	Emit(Line)
}

// Discard is an Emitter that takes lines and does nothing.
var Discard Emitter = discard{}

type discard struct{}

func (discard) Emit(Line) {}

// Tee returns an Emitter that hands each line to all others in turn. Those that are nil are left out.
func Tee(emitters ...Emitter) Emitter {
	var all tee
	for _, e := range emitters {
		if e != nil {
			all = append(all, e)
		}
	}
	switch len(all) {
	case 0:
		return Discard
	case 1:
		return all[0]
	default:
		return all
	}
}

type tee []Emitter

func (t tee) Emit(line Line) {
	line = stamped(line) // the same for all
	for _, e := range t {
		e.Emit(line)
	}
}

// stamped gives a line the present time if it has none.
func stamped(line Line) Line {
	if line.Time.IsZero() {
		line.Time = time.Now()
	}
	return line
}

// Stats count the lines of an Emitter since it was made.
type Stats struct {
	Sent uint64 // handed to the network: not a promise that anyone has got them
	Lost uint64
}
