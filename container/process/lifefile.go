package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/deakit/deakit/container"
)

// Each process of a container has a file, in which its life is written down: a birth by Run, before the program begins,
// and a death by whoever sees its end, the supervisor mostly. All is in the byte order of the machine. A file without a
// birth is of a program that never began.

const processesName = "processes"

type birth struct {
	Magic                  uint64
	Boot                   uint64 // Backend.boot
	PID, Start             uint64
	KeeperPID, KeeperStart uint64 // of the supervisor; 0 if there is none
}

// lifeMagic begins a birth. A death without one is of a program that was held back when its back end was killed.
const lifeMagic = 0x6b69747f00000001

// death is written by supervisor_*.s.
type death struct {
	Second, Nanosecond int64 // on the clock of ticksNow, before the pid was free
	Status             int32 // as wait(2) gives it
	_                  int32
	User, System       [2]int64 // processor time with that of awaited children: seconds and microseconds
}

var birthSize, deathSize = binary.Size(birth{}), binary.Size(death{})

func (d death) at() uint64 {
	return uint64(d.Second)*ticksPerSecond + uint64(d.Nanosecond)/(1e9/ticksPerSecond)
}

func (d death) status() container.ExitStatus {
	ws := syscall.WaitStatus(d.Status)
	if ws.Signaled() {
		return 128 + container.ExitStatus(ws.Signal())
	}
	return container.ExitStatus(ws.ExitStatus())
}

func (d death) cpu() time.Duration {
	return time.Duration(d.User[0]+d.System[0])*time.Second + time.Duration(d.User[1]+d.System[1])*time.Microsecond
}

// deathOf describes the end of a child that was reaped at a moment.
func deathOf(state *os.ProcessState, at uint64) death {
	d := death{Second: int64(at / ticksPerSecond), Nanosecond: int64(at%ticksPerSecond) * (1e9 / ticksPerSecond)}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok {
		d.Status = int32(ws)
	}
	d.User[1], d.System[1] = state.UserTime().Microseconds(), state.SystemTime().Microseconds()
	return d
}

// note appends a birth or a death.
func note(f *os.File, part any) error { return binary.Write(f, binary.NativeEndian, part) }

// life is what stands in a process file.
type life struct {
	begun, ended bool
	birth
	death
}

func readLife(f io.ReaderAt) (l life) {
	read := func(from, size int, into any) bool {
		return binary.Read(io.NewSectionReader(f, int64(from), int64(size)), binary.NativeEndian, into) == nil
	}
	l.begun = read(0, birthSize, &l.birth) && l.Magic == lifeMagic
	l.ended = l.begun && read(birthSize, deathSize, &l.death)
	return l
}

func (c *box) processFile(id uint32) string {
	return path.Join(c.handle, processesName, strconv.FormatUint(uint64(id), 10))
}

// makeProcessFile makes the file of the next process.
func (c *box) makeProcessFile() (id uint32, f *os.File, err error) {
	c.mu.Lock()
	c.lastID++
	id = c.lastID
	c.mu.Unlock()
	f, err = c.b.depot.OpenFile(c.processFile(id), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return 0, nil, fmt.Errorf("make the process file: %w", err)
	}
	return id, f, nil
}

// processIDs returns the numbers of the processes that have a file.
func (c *box) processIDs() ([]uint32, error) {
	entries, err := fs.ReadDir(c.b.depot.FS(), path.Join(c.handle, processesName))
	if err != nil {
		return nil, err
	}
	var ids []uint32
	for _, e := range entries {
		if id, err := strconv.ParseUint(e.Name(), 10, 32); err == nil && id > 0 {
			ids = append(ids, uint32(id))
		}
	}
	slices.Sort(ids)
	return ids, nil
}

var errNotRegular = errors.New("it is no regular file")

// openRegular opens a file that a process of a container may have put something else in the place of.
func openRegular(root *os.Root, name string, flags int) (*os.File, error) {
	f, err := root.OpenFile(name, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, errNotRegular)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
