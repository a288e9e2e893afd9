package process

import (
	"slices"

	"golang.org/x/sys/unix"
)

// markerName is the environment variable that marks the processes of a container.
const markerName = "DEAKIT_CONTAINER"

// A snapshot is a look at the process table and at the processes in it. It belongs to one goroutine, the table to all.
type snapshot struct {
	*table
	fs     *procFS // nil: there is only the table
	blanks []proc  // whose marker may only be out of sight for a moment
}

// snapshot looks at the process table. The caller closes the snapshot.
func (b *Backend) snapshot() (*snapshot, error) {
	fs, err := openProcFS()
	if err != nil {
		return nil, err
	}
	t, err := b.tables.read()
	if err != nil {
		fs.close()
		return nil, err
	}
	return &snapshot{table: t, fs: fs}, nil
}

// recent is a snapshot whose table may be a little older than the call, but is younger than a moment: measuring a thousand
// containers, one after the other, must not mean to read the table of all processes a thousand times.
func (b *Backend) recent(moment uint64) (*snapshot, error) {
	fs, err := openProcFS()
	if err != nil {
		return nil, err
	}
	t, err := b.tables.readSince(moment)
	if err != nil {
		fs.close()
		return nil, err
	}
	return &snapshot{table: t, fs: fs}, nil
}

func (s *snapshot) close() { s.fs.close() }

func (s *snapshot) marker(p proc) string {
	m := s.table.marker(s.fs, p.pid)
	if m.blank {
		s.blanks = append(s.blanks, p)
	}
	return m.value
}

// lookAgain looks whether the blank processes show their markers by now, and tells whether one of them is gone. Those that
// never show one, as they were started without any environment, cost two files each and not another table of all processes.
func (s *snapshot) lookAgain() (gone bool) {
	blanks := s.blanks
	s.blanks = nil
	for _, p := range blanks {
		var m marker
		m.value, m.blank = s.fs.environ(p.pid, markerName)
		now, err := s.fs.stat(p.pid)
		if err != nil || now.identity() != p.identity() || !now.alive() {
			gone = true
			continue
		}
		s.keep(p.pid, m)
	}
	return gone
}

// clues are what a container knows about its processes.
type clues struct {
	marked  func(marker string) bool // tells whether a value of markerName is the container's
	since   uint64                   // ticks: no process of it is older
	running map[int]uint64           // pid and start of the processes that Run started and that have not ended
	reaped  map[int]lifetime         // of those that ended: their sessions may live on under these numbers
}

// lifetime is when a process started and when it was reaped, in ticks.
type lifetime struct{ from, to uint64 }

// tree returns the processes that belong to a container, zombies included. First come those that are certain by
// themselves:
//
//   - those that Run started;
//   - members of a session whose leader has ended, if they started in the lifetime of the leader: as long as one of
//     them lives the kernel gives the number to nobody else, and who got it later made younger processes;
//   - processes that carry the marker in their environment.
//
// Then all descendants of those, and all members of their sessions: every process here descends from one that we put
// into a session of its own, so no session it can be in has members from outside.
func (s *snapshot) tree(c clues) []proc {
	found := make([]bool, len(s.procs))
	seen := map[int]bool{} // sessions
	var queue []int
	add := func(i int) {
		if !found[i] && !s.outsiders[s.procs[i].pid] {
			found[i] = true
			queue = append(queue, i)
		}
	}
	spread := func() {
		for len(queue) > 0 {
			p := s.procs[queue[0]]
			queue = queue[1:]
			for _, i := range s.children[p.pid] {
				add(i)
			}
			if p.sid > 1 && p.sid != s.ownSID && !seen[p.sid] {
				seen[p.sid] = true
				for _, i := range s.sessions[p.sid] {
					add(i)
				}
			}
		}
	}
	for i, p := range s.procs {
		start, isChild := c.running[p.pid]
		leader, wasOurs := c.reaped[p.sid]
		if isChild && p.start == start || wasOurs && leader.from <= p.start && p.start <= leader.to {
			add(i)
		}
	}
	spread() // before the markers, which cost more to read
	for i, p := range s.procs {
		// Who is in no session that we know of is a kernel thread, or was put into our pid namespace from outside.
		candidate := !found[i] && p.start >= c.since && p.sid > 0 && !s.outsiders[p.pid] && p.alive()
		if candidate && c.marked(s.marker(p)) {
			add(i)
		}
	}
	spread()

	var members []proc
	for i, p := range s.procs {
		if found[i] {
			members = append(members, p)
		}
	}
	return members
}

// living returns those of procs that can still do something.
func living(procs []proc) []proc {
	return slices.DeleteFunc(procs, func(p proc) bool { return !p.alive() })
}

// A target is a process that is to be signalled. It is held by a pidfd, where the kernel has them, so that a signal
// cannot reach another process that got the pid later.
type target struct {
	identity
	fd int // -1: none, and the start time is looked at before each use
}

// aim opens a target, or returns false when the process is gone. The caller closes it.
func aim(fs *procFS, id identity) (*target, bool) {
	t := &target{identity: id, fd: -1}
	fd, err := unix.PidfdOpen(id.pid, 0)
	if err == unix.ESRCH {
		return nil, false
	}
	if err == nil {
		t.fd = fd
	}
	if !t.same(fs) { // after the pidfd was opened: so it is the right one
		t.close()
		return nil, false
	}
	return t, true
}

func (t *target) same(fs *procFS) bool {
	now, err := fs.stat(t.pid)
	return err == nil && now.identity() == t.identity && now.alive()
}

func (t *target) close() {
	if t.fd >= 0 {
		unix.Close(t.fd)
	}
}

func (t *target) signal(fs *procFS, sig unix.Signal) {
	// Errors mean that it ended, or that it is not ours to signal any more (a setuid program): the next look at the
	// process table tells.
	if t.fd >= 0 {
		_ = unix.PidfdSendSignal(t.fd, sig, nil, 0)
	} else if t.same(fs) {
		_ = unix.Kill(t.pid, sig)
	}
}

// awaitGone waits up to millis milliseconds for the targets to end, and returns those that have not.
func awaitGone(fs *procFS, targets []*target, millis int) []*target {
	if len(targets) == 0 {
		return nil
	}
	var polled []unix.PollFd
	for _, t := range targets {
		if t.fd >= 0 {
			polled = append(polled, unix.PollFd{Fd: int32(t.fd), Events: unix.POLLIN})
		}
	}
	_, _ = unix.Poll(polled, millis) // interrupted or not, what follows is right
	ended := map[int32]bool{}
	for _, p := range polled {
		ended[p.Fd] = p.Revents != 0
	}
	return slices.DeleteFunc(targets, func(t *target) bool {
		gone := t.fd >= 0 && ended[int32(t.fd)] || t.fd < 0 && !t.same(fs)
		if gone {
			t.close()
		}
		return gone
	})
}
