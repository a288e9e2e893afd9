package process

import (
	"os"
	"sync"
	"time"
)

// A table is the process table of one moment, indexed. All but its markers is read-only.
type table struct {
	at        uint64    // ticks when its reading was begun
	read      time.Time // the same moment
	procs     []proc
	children  map[int][]int // indexes into procs, by parent
	sessions  map[int][]int // indexes into procs, by session
	outsiders map[int]bool  // this process and its ancestors: never part of a container
	ownSID    int

	mu      sync.Mutex
	markers map[int]marker // those that were looked up
}

// A marker is the value of markerName in the environment of a process. It is blank when the process has no environment
// at all, as in the moment in which it executes another program.
type marker struct {
	value string
	blank bool
}

// newTable indexes processes as seen by the process self.
func newTable(procs []proc, self int) *table {
	t := &table{
		procs:     procs,
		children:  make(map[int][]int),
		sessions:  make(map[int][]int),
		outsiders: map[int]bool{0: true, 1: true},
		markers:   make(map[int]marker),
	}
	parents := make(map[int]int, len(procs))
	for i, p := range procs {
		t.children[p.ppid] = append(t.children[p.ppid], i)
		t.sessions[p.sid] = append(t.sessions[p.sid], i)
		parents[p.pid] = p.ppid
		if p.pid == self {
			t.ownSID = p.sid
		}
	}
	for pid := self; !t.outsiders[pid]; pid = parents[pid] {
		t.outsiders[pid] = true
	}
	return t
}

func readTable() (*table, error) {
	fs, err := openProcFS()
	if err != nil {
		return nil, err
	}
	defer fs.close()
	at, read := ticksNow(), time.Now()
	procs, err := fs.all()
	if err != nil {
		return nil, err
	}
	t := newTable(procs, os.Getpid())
	t.at, t.read = at, read
	return t, nil
}

// marker returns the marker of a process of the table, which is read once for all who ask.
func (t *table) marker(fs *procFS, pid int) marker {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, known := t.markers[pid]
	if !known && fs != nil {
		m.value, m.blank = fs.environ(pid, markerName)
		t.markers[pid] = m
	}
	return m
}

// keep replaces the marker of a process of the table.
func (t *table) keep(pid int, m marker) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.markers[pid] = m
}

// A tableReader reads the process table for all who want it: those who ask while it is being read share the next reading.
// Whoever asks gets a table whose reading began after that. With a thousand containers that end at once, each looking
// for its processes among those of all, the cost would grow with the square of their number otherwise. Its zero value is ready.
type tableReader struct {
	reading sync.Mutex // held while the table is read

	mu   sync.Mutex
	next *reading // that has not begun
	last *table   // that was read
}

type reading struct {
	done  chan struct{}
	table *table
	err   error
}

func (r *tableReader) read() (*table, error) {
	r.mu.Lock()
	mine, first := r.next, false
	if mine == nil {
		mine, first = &reading{done: make(chan struct{})}, true
		r.next = mine
	}
	r.mu.Unlock()
	if !first {
		<-mine.done
		return mine.table, mine.err
	}
	defer close(mine.done)
	r.reading.Lock()
	defer r.reading.Unlock()
	r.mu.Lock()
	r.next = nil // from now on it is too late to join
	r.mu.Unlock()
	mine.table, mine.err = readTable()
	if mine.err == nil {
		r.mu.Lock()
		r.last = mine.table
		r.mu.Unlock()
	}
	return mine.table, mine.err
}

// tableAge is how old a table may be for those who do not need the newest.
const tableAge = 500 * time.Millisecond

// readSince returns a table whose reading began after a moment, in ticks, and not longer than tableAge ago.
func (r *tableReader) readSince(moment uint64) (*table, error) {
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	if last != nil && last.at > moment && time.Since(last.read) < tableAge {
		return last, nil
	}
	return r.read()
}
