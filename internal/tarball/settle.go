package tarball

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// settleTries bounds the wait for one program, at a millisecond each. It is not used up unless a stranger writes to it.
const settleTries = 100

// settle waits until nobody has a program open for writing that has just been written; f is open for reading. The one
// who may is a child that another goroutine started meanwhile: it holds a copy of each of our descriptors from its fork
// until its exec, and as long the kernel refuses to run the program (ETXTBSY). Whether somebody writes tells a lease,
// which is given at no other time. It returns false if somebody went on to write for long.
func settle(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return true // closed; nobody can do anything about it
	}
	for range settleTries {
		if !written(conn) {
			return true
		}
		// Whoever forks holds this lock until its child is about to run another program.
		syscall.ForkLock.RLock()
		//lint:ignore SA2001 it is waited for, nothing is protected
		syscall.ForkLock.RUnlock()
		if !written(conn) {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// written tells whether a file is known to be open for writing. A file system without leases does not know.
func written(conn syscall.RawConn) (yes bool) {
	_ = conn.Control(func(fd uintptr) {
		_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
		yes = errors.Is(err, unix.EAGAIN)
		if err == nil {
			_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK) // else its closing gives it back
		}
	})
	return yes
}
