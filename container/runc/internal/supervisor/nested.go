package supervisor

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Nested lets the supervisor enter a user namespace of its own, where the only id of the one that it comes from, 0, is
// called otherwise: programs that ask whether they are root find that they are not. It takes the privilege CAP_SETFCAP
// and a system call filter that allows to unshare a user namespace, which a filter of its own forbids from then on.
type Nested struct{ UID, GID int }

// enter adds the system calls. No descriptor from 5 on is open.
func (n Nested) enter(l *list) {
	const (
		step = 6
		file = deathsFD // the next one that is free
	)
	l.call(step, unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	for _, f := range []struct{ name, text string }{
		{"/proc/self/setgroups", "deny"},
		{"/proc/self/uid_map", fmt.Sprintf("%d 0 1", n.UID)},
		{"/proc/self/gid_map", fmt.Sprintf("%d 0 1", n.GID)},
	} {
		l.call(step, unix.SYS_OPENAT, atCWD, l.text(f.name), unix.O_WRONLY, 0)
		l.call(step, unix.SYS_WRITE, file, l.text(f.text), uint64(len(f.text)))
		l.call(step, unix.SYS_CLOSE, file)
	}
	filter := noUnshare()
	var program []byte
	for _, f := range filter {
		program = binary.NativeEndian.AppendUint16(program, f.Code)
		program = append(program, f.Jt, f.Jf)
		program = binary.NativeEndian.AppendUint32(program, f.K)
	}
	const setModeFilter = 1
	at := l.put(program)
	l.call(step, unix.SYS_SECCOMP, setModeFilter, 0, l.words(uint64(len(filter)), at)) // a struct sock_fprog
}

// unshareNumbers are those of unshare(2), by audit architecture, for all whose programs the processor runs.
func unshareNumbers() map[uint32][]uint32 {
	const x32 = 0x40000000
	if runtime.GOARCH == "amd64" {
		return map[uint32][]uint32{
			unix.AUDIT_ARCH_X86_64: {unix.SYS_UNSHARE, x32 + unix.SYS_UNSHARE},
			unix.AUDIT_ARCH_I386:   {310},
		}
	}
	return map[uint32][]uint32{unix.AUDIT_ARCH_AARCH64: {unix.SYS_UNSHARE}, unix.AUDIT_ARCH_ARM: {337}}
}

// noUnshare is a system call filter that lets unshare(2) fail.
func noUnshare() []unix.SockFilter {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		result = unix.BPF_RET | unix.BPF_K
		allow  = 0x7fff0000
		refuse = 0x00050000 | uint32(unix.EPERM)
		atCall = 0 // of struct seccomp_data
		atArch = 4
	)
	filter := []unix.SockFilter{{Code: load, K: atArch}}
	for arch, numbers := range unshareNumbers() {
		part := []unix.SockFilter{{Code: load, K: atCall}}
		for i, number := range numbers {
			part = append(part, unix.SockFilter{Code: equal, K: number, Jt: uint8(len(numbers) - i)})
		}
		part = append(part, unix.SockFilter{Code: result, K: allow}, unix.SockFilter{Code: result, K: refuse})
		filter = append(filter, unix.SockFilter{Code: equal, K: arch, Jf: uint8(len(part))})
		filter = append(filter, part...)
	}
	return append(filter, unix.SockFilter{Code: result, K: refuse}) // no program here makes calls of another
}
