// Package pidfile keeps the file that tells outside tools the process id of a service, and that keeps a second one from
// starting beside it.
package pidfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/atomicfile"
)

// A RunningError says that the file belongs to a process that lives.
type RunningError struct {
	Path string
	PID  int // 0 when it is not known
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("cannot create pid file at %s: process already running (pid=%d)", e.Path, e.PID)
}

// A File is a pid file that this process holds.
type File struct {
	path string
	file *os.File
}

// Create writes the id of this process, and a line feed, to the file at path, whose directory must exist, and locks it
// until Remove or the end of the process. A file that a dead process left is taken over, and one of before the machine was
// started. When a live process holds it, or is named in it, the error is a *RunningError. On a full disk the lock is what
// counts, and the file may stay empty.
func Create(path string) (*File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("cannot create pid file: %w", err)
		}
		err = claim(path, file)
		if err == nil {
			return &File{path, file}, nil
		}
		file.Close()
		if !errors.Is(err, errReplaced) {
			return nil, err
		}
	}
}

// errReplaced: between opening and locking the file, its owner has removed it. A lock on it would keep nobody out.
var errReplaced = errors.New("the file was replaced")

func claim(path string, file *os.File) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	pid, readErr := readPID(file)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return &RunningError{path, pid}
	}
	if err = errors.Join(err, readErr); err != nil {
		return fmt.Errorf("cannot create pid file at %s: %w", path, err)
	}
	if same, err := stands(path, file); err != nil {
		return fmt.Errorf("cannot create pid file at %s: %w", path, err)
	} else if !same {
		return errReplaced
	}
	// One that was written without a lock counts too, by an original for example.
	if pid != os.Getpid() && alive(pid) && !beforeBoot(file) {
		return &RunningError{path, pid}
	}
	return note(file)
}

// note writes down whose the file is. It writes over what was there, which takes no room on the disk.
func note(file *os.File) error {
	text := strconv.Itoa(os.Getpid()) + "\n"
	_, err := file.WriteAt([]byte(text), 0)
	if atomicfile.IsFull(err) { // then nobody is named, rather than a dead process
		text, err = "", nil
	}
	if err = errors.Join(err, file.Truncate(int64(len(text)))); err != nil {
		return fmt.Errorf("cannot write pid file: %w", err)
	}
	return nil
}

// readPID returns 0 for what is no process id.
func readPID(file *os.File) (int, error) {
	data, err := io.ReadAll(io.LimitReader(file, 64))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid < 0 {
		return 0, nil
	}
	return pid, nil
}

func alive(pid int) bool {
	return pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) && !zombie(pid)
}

// zombie tells whether a process has ended, and only its parent has not asked yet how. It does nothing any more. Where the
// system does not tell, there are none.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	end := strings.LastIndex(string(stat), ") ") // the name before it may hold anything
	return end >= 0 && strings.HasPrefix(string(stat)[end+2:], "Z")
}

// beforeBoot tells whether a file was written before the machine was started, as one is that outlived a loss of power. Whose id is in
// it is dead, and the id may be another's for good.
func beforeBoot(file *os.File) bool {
	var up unix.Timespec
	info, err := file.Stat()
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return false
	}
	return info.ModTime().Before(time.Now().Add(-time.Duration(up.Nano())))
}

// Remove takes the file away, unless it is another one by now, and gives up the lock.
func (f *File) Remove() error {
	defer f.file.Close()
	if same, err := stands(f.path, f.file); err != nil || !same {
		return err
	}
	return os.Remove(f.path)
}

// stands tells whether file is the one at path still.
func stands(path string, file *os.File) (bool, error) {
	ours, err := file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, there), err
}
