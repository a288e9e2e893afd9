package supervisor

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var unixEpoch = time.Unix(0, 0) // a deadline that has passed

// ErrTooBig: arguments and environment take more than RequestBytes.
var ErrTooBig = errors.New("arguments and environment are too big")

// A Process is what Start starts.
type Process struct {
	// Paths are the names under which the program is looked for, one after the other.
	Paths []string
	Args  []string // with the name of the program first
	Env   []string
	Dir   string

	UID, GID int
	// Drop are the capabilities to drop from the bound of all that the process will ever have. Those that it has now are
	// dropped too if KeepCapabilities is false.
	Drop             []int
	KeepCapabilities bool
	// KeepGroups is for user namespaces in which nobody may change groups: it keeps those of the supervisor.
	KeepGroups bool

	Rlimits []Rlimit
}

// An Rlimit is a resource limit, soft and hard.
type Rlimit struct {
	Resource int
	Value    uint64
}

// A Step of starting a process can fail.
type Step int32

// The steps; zero is the fork.
const (
	StepFork Step = iota
	StepStreams
	StepIdentity
	StepRlimits
	StepDir
	StepProgram
)

func (s Step) String() string {
	if s < StepFork || s > StepProgram {
		return "start"
	}
	return [...]string{
		"fork", "connect streams", "change user", "set resource limits", "enter the working directory", "execute the program",
	}[s]
}

// A StepError tells which step of starting a process failed.
type StepError struct {
	Step Step
	Err  syscall.Errno
}

func (e *StepError) Error() string { return e.Step.String() + ": " + e.Err.Error() }

// Unwrap returns the error number.
func (e *StepError) Unwrap() error { return e.Err }

// compose returns the memory of the request, of which the list comes last and a jump to it first.
func (p Process) compose(streams [3]*os.File) ([]byte, error) {
	l := &list{base: requestAddr}
	l.put(bytesOf(&call{})) // the jump

	l.call(int64(StepStreams), unix.SYS_SETSID)
	next := uint64(streamFD)
	for n, f := range streams {
		if f != nil {
			l.call(int64(StepStreams), unix.SYS_DUP3, next, uint64(n), 0)
			next++
		}
	}
	l.call(int64(StepStreams), unix.SYS_RT_SIGPROCMASK, sigSetMask, l.words(0), 0, 8)
	p.becomeUser(l)
	l.call(int64(StepDir), unix.SYS_CHDIR, l.text(p.Dir))
	for _, r := range p.Rlimits {
		l.call(int64(StepRlimits), unix.SYS_PRLIMIT64, 0, uint64(r.Resource), l.words(r.Value, r.Value), 0)
	}
	args, env := l.texts(p.Args), l.texts(p.Env)
	for n, path := range p.Paths {
		if n < len(p.Paths)-1 {
			l.try(unix.SYS_EXECVE, l.text(path), args, env)
		} else {
			l.call(int64(StepProgram), unix.SYS_EXECVE, l.text(path), args, env)
		}
	}
	start := l.finish()
	if len(l.bytes) > RequestBytes {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrTooBig, len(l.bytes), RequestBytes)
	}
	copy(l.bytes, bytesOf(&call{number: callJump, args: [6]uint64{start}}))
	return l.bytes, nil
}

// becomeUser leaves the identity of the supervisor behind.
func (p Process) becomeUser(l *list) {
	const step = int64(StepIdentity)
	for _, c := range p.Drop {
		l.call(step, unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uint64(c))
	}
	if !p.KeepGroups {
		l.call(step, unix.SYS_SETGROUPS, 0, 0)
	}
	gid, uid := uint64(p.GID), uint64(p.UID)
	l.call(step, unix.SYS_SETRESGID, gid, gid, gid)
	l.call(step, unix.SYS_SETRESUID, uid, uid, uid)
	if !p.KeepCapabilities {
		const version3 = 0x20080522
		header := l.words(version3) // version, and 0 for itself
		l.call(step, unix.SYS_CAPSET, header, l.words(0, 0, 0))
	}
}
