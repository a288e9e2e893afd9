package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the unit of times in /proc, USER_HZ: 100 on every architecture that Go supports on Linux.
const ticksPerSecond = 100

// proc is one line of the process table (proc_pid_stat(5)).
type proc struct {
	pid, ppid, sid int
	state          byte
	threads        int    // more than one keeps a process alive whose first thread is a zombie
	start          uint64 // ticks after boot; with pid it names a process for good
	cpu            uint64 // ticks used by itself and by its children that were waited for
}

// An identity names a process for good: a pid alone may belong to another one later.
type identity struct {
	pid   int
	start uint64 // ticks
}

func (p proc) identity() identity { return identity{p.pid, p.start} }

// alive tells whether the process can still do anything: a zombie cannot.
func (p proc) alive() bool {
	return p.state != 'Z' && p.state != 'X' && p.state != 'x' || p.threads > 1
}

var errStat = errors.New("unexpected text in /proc/<pid>/stat")

// parseStat reads the text of /proc/<pid>/stat. The program name in it is chosen by the process and may hold spaces
// and parentheses, so the fields are counted from the last parenthesis.
func parseStat(text []byte) (proc, error) {
	var p proc
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return p, errStat
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return p, errStat
	}
	p.state = fields[0][0]
	var bad error
	number := func(b []byte) int {
		n, err := strconv.Atoi(string(b))
		if err != nil {
			bad = errStat
		}
		return n
	}
	count := func(field int) uint64 {
		n := number(fields[field])
		if n < 0 {
			n = 0 // cutime and cstime are signed for no good reason
		}
		return uint64(n)
	}
	p.pid = number(bytes.TrimSpace(text[:open]))
	p.ppid = number(fields[1])
	p.sid = number(fields[3])
	p.cpu = count(11) + count(12) + count(13) + count(14)
	p.threads = number(fields[17])
	p.start = count(19)
	return p, bad
}

// procFS is an opened /proc.
type procFS struct {
	dir *os.File
	buf []byte
}

func openProcFS() (*procFS, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("read the process table: %w", err)
	}
	return &procFS{dir: dir, buf: make([]byte, 4096)}, nil
}

func (f *procFS) close() { f.dir.Close() }

// read returns the text of a file below /proc, up to limit bytes. It is valid until the next call.
func (f *procFS) read(pid int, name string, limit int) ([]byte, error) {
	fd, err := unix.Openat(int(f.dir.Fd()), strconv.Itoa(pid)+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n := 0
	for n < limit {
		if n == len(f.buf) {
			f.buf = append(f.buf, make([]byte, len(f.buf))...)
		}
		m, err := unix.Read(fd, f.buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return f.buf[:n], nil
}

func (f *procFS) stat(pid int) (proc, error) {
	text, err := f.read(pid, "stat", 4096)
	if err != nil {
		return proc{}, err
	}
	return parseStat(text)
}

// statOf returns the line of one process. That there is none is fs.ErrNotExist.
func statOf(pid int) (proc, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, unix.ESRCH) { // it ended after the file was opened
		err = fs.ErrNotExist
	}
	if err != nil {
		return proc{}, fmt.Errorf("look at process %d: %w", pid, err)
	}
	return parseStat(text)
}

// find returns a process, zombie or not, if it is there.
func find(id identity) (p proc, there bool, err error) {
	p, err = statOf(id.pid)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	return p, err == nil && p.identity() == id, err
}

// environLimit is more than execve(2) accepts with an ordinary stack limit.
const environLimit = 8 << 20

// environ returns the value of the variable name in the environment that the process was started with, "" if it has
// none or keeps it from us. It is blank when there is no environment at all, as in the moment in which a process
// executes another program.
func (f *procFS) environ(pid int, name string) (value string, blank bool) {
	text, err := f.read(pid, "environ", environLimit)
	if err != nil {
		return "", false
	}
	prefix := []byte(name + "=")
	for entry := range bytes.SplitSeq(text, []byte{0}) {
		if value, ok := bytes.CutPrefix(entry, prefix); ok {
			return string(value), false
		}
	}
	return "", len(text) == 0
}

// memory returns the resident bytes of a process: its own, and those of files and of memory shared with others.
func (f *procFS) memory(pid int) (own, shared int64) {
	text, err := f.read(pid, "statm", 4096)
	if err != nil {
		return 0, 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 3 {
		return 0, 0
	}
	page := int64(os.Getpagesize())
	resident, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	mapped, _ := strconv.ParseInt(string(fields[2]), 10, 64)
	return max(resident-mapped, 0) * page, mapped * page
}

// all returns the process table.
func (f *procFS) all() ([]proc, error) {
	if _, err := f.dir.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the process table: %w", err)
	}
	names, err := f.dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read the process table: %w", err)
	}
	table := make([]proc, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := f.stat(pid); err == nil { // else it ended meanwhile, or hides from us
			table = append(table, p)
		}
	}
	return table, nil
}

// ticksNow returns the present moment on the clock of proc.start.
func ticksNow() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // never fails with a valid clock
	}
	return uint64(ts.Sec)*ticksPerSecond + uint64(ts.Nsec)/(1e9/ticksPerSecond)
}
