package applog

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// lineCost is what a line counts for besides its text, in bytes.
const lineCost = 192

// lossPause is the least time between two warnings of one queue.
const lossPause = time.Minute

// A tally counts for the Stats of an Emitter.
type tally struct{ sent, lost atomic.Uint64 }

func (t *tally) stats() Stats { return Stats{Sent: t.sent.Load(), Lost: t.lost.Load()} }

// A queue keeps lines from Emit until one goroutine takes them. When it is full, the oldest line makes room: it is the
// newest that people want to see.
type queue struct {
	max   int // bytes
	tally *tally
	ready chan struct{} // has a value when there may be something to take

	mu     sync.Mutex
	lines  []Line
	size   int       // bytes
	fed    time.Time // when the last line came
	closed bool
	lost   uint64 // not told in the log yet
	told   time.Time
}

func newQueue(maxBytes int, t *tally) *queue {
	return &queue{max: maxBytes, tally: t, ready: make(chan struct{}, 1)}
}

// put adds a line. It never blocks.
func (q *queue) put(line Line) {
	q.mu.Lock()
	if q.closed {
		q.lose(1)
		q.mu.Unlock()
		return
	}
	q.lines = append(q.lines, line)
	q.size += cost(line)
	q.fed = time.Now()
	for q.size > q.max {
		q.size -= cost(q.lines[0])
		q.lines[0] = Line{}
		q.lines = q.lines[1:]
		q.lose(1)
	}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default: // told already
	}
}

func cost(line Line) int { return lineCost + len(line.Text) }

// take removes and returns all lines.
func (q *queue) take() []Line {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines := q.lines
	q.lines, q.size = nil, 0
	return lines
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.lines) == 0
}

// quiet tells for how long no line has come.
func (q *queue) quiet() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Since(q.fed)
}

// close makes the queue refuse what comes from now on; what it has can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// lose counts lines that nobody will get. q.mu is held.
func (q *queue) lose(n int) {
	q.lost += uint64(n)
	q.tally.lost.Add(uint64(n))
}

// drop is lose for lines that were taken.
func (q *queue) drop(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lose(n)
}

// tell says in the log how many lines were lost since it last did; not too often, unless it is the last time. The
// goroutine that takes calls it, because Emit must not wait for a log.
func (q *queue) tell(log *slog.Logger, last bool) {
	q.mu.Lock()
	lost, now := q.lost, time.Now()
	if lost == 0 || !last && now.Sub(q.told) < lossPause {
		q.mu.Unlock()
		return
	}
	q.lost, q.told = 0, now
	q.mu.Unlock()
	log.Warn("applog.lines.lost", "lost", lost)
}
