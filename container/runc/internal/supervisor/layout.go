//lint:file-ignore U1000 the assembly uses what nothing else seems to

package supervisor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The constants of this file, and the offsets of the types, are known to the assembly: the compiler tells them to it
// (go_asm.h).

// Where things are in the memory of the supervisor.
const (
	codeAddr    = 0x400000
	memoryAddr  = 0x600000
	requestAddr = 0x10000000
	// RequestBytes is the most that the arguments and environment of a process may take.
	RequestBytes = 8 << 20
)

// Descriptors of the supervisor.
const (
	socketFD  = 3
	statusFD  = 4
	deathsFD  = 5 // a signalfd for SIGCHLD
	requestFD = 6 // the first of those that come with a request: its memory,
	reportFD  = 7 // where to report,
	streamFD  = 8 // and up to three streams of the new process
	passedEnd = 12
)

// MaxProcesses is how many processes can be awaited at a time.
const MaxProcesses = 1024

// Kinds of message.
const (
	kindStart = 1 + iota
	kindSignal
	kindEnd
)

// States of a status.
const (
	stateStarted = 1 + iota
	stateEnded
	stateFailed // never became the program; written by the client
)

// Words in place of the number of a system call.
const (
	callJump = -1 // to the list at the first argument; none means the end
)

// Numbers for the assembly.
const (
	sysGetpid    = unix.SYS_GETPID
	sysPpoll     = unix.SYS_PPOLL
	sysRead      = unix.SYS_READ
	sysWrite     = unix.SYS_WRITE
	sysClose     = unix.SYS_CLOSE
	sysWait4     = unix.SYS_WAIT4
	sysPwrite    = unix.SYS_PWRITE64
	sysRecvmsg   = unix.SYS_RECVMSG
	sysClone     = unix.SYS_CLONE
	sysKill      = unix.SYS_KILL
	sysExitGroup = unix.SYS_EXIT_GROUP

	sigChild     = int(unix.SIGCHLD)
	waitNoHang   = unix.WNOHANG
	recvFlags    = unix.MSG_DONTWAIT | unix.MSG_CMSG_CLOEXEC
	errAgain     = int(unix.EAGAIN)
	exitRefused  = 126
	scratchBytes = 128
	controlBytes = 64
)

// call is one system call of a list.
type call struct {
	number int64
	args   [6]uint64
	// mark is what is reported when the call fails; an optional call, which may fail, has a negative one.
	mark int64
}

// message is a datagram to the supervisor.
type message struct {
	kind   int32
	id     uint32 // of a process
	signal int32
}

// status is what stands in the status file about the process with number n, at n times its size.
type status struct {
	state int32
	wait  int32 // as wait(2) gives it
}

// report is what goes back through the report pipe.
type report struct {
	code int32 // 1: forked; negative: error number of the call
	what int32 // its pid, or the mark of the call
}

type pollfd struct {
	fd              int32
	events, revents int16
}

type msghdr struct {
	name       uint64
	nameLen    uint64
	iov        uint64
	iovLen     uint64
	control    uint64
	controlLen uint64
	flags      uint64
}

type iovec struct{ base, length uint64 }

// entry is a child that is awaited.
type entry struct {
	pid int32 // 0 if free
	id  uint32
}

// memory is what the supervisor remembers.
type memory struct {
	polls   [2]pollfd
	header  msghdr
	vector  iovec
	message message
	_       int32
	status  status
	report  report
	scratch [scratchBytes]byte
	control [controlBytes]byte
	table   [MaxProcesses]entry
	child   [2]call // the list that a child begins with
	first   [1]call // the list that it begins with itself; the rest follows
}

var (
	messageSize = unsafe.Sizeof(message{})
	statusSize  = int64(unsafe.Sizeof(status{}))
)
