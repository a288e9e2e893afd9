package supervisor

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrArchitecture: there is no supervisor for this processor architecture.
var ErrArchitecture = errors.New("there is no supervisor for this processor architecture (there is for amd64 and arm64)")

// Program returns the executable file of the supervisor. Called by the name path, it removes that name first: nothing of
// it is left in the file system that it runs in. nested may be nil.
func Program(path string, nested *Nested) ([]byte, error) {
	start, end := code()
	if uintptr(end) <= uintptr(start) {
		return nil, ErrArchitecture
	}
	text := unsafe.Slice((*byte)(start), uintptr(end)-uintptr(start))
	return link(text, data(path, nested)), nil
}

// data returns what the memory of the supervisor holds in the beginning.
func data(path string, nested *Nested) []byte {
	memory := memory{
		polls: [2]pollfd{{fd: socketFD, events: unix.POLLIN}, {fd: deathsFD, events: unix.POLLIN}},
	}
	at := func(offset uintptr) uint64 { return memoryAddr + uint64(offset) }
	memory.vector = iovec{at(unsafe.Offsetof(memory.message)), uint64(messageSize)}
	memory.header = msghdr{iov: at(unsafe.Offsetof(memory.vector)), iovLen: 1, control: at(unsafe.Offsetof(memory.control))}
	memory.child = [2]call{
		{number: unix.SYS_MMAP, args: [6]uint64{
			requestAddr, RequestBytes, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_FIXED, requestFD, 0,
		}},
		{number: callJump, args: [6]uint64{requestAddr}},
	}
	l := beginning(path, nested)
	memory.first = [1]call{{number: callJump, args: [6]uint64{l.finish()}}}
	return append(bytes.Clone(bytesOf(&memory)), l.bytes...)
}

// beginning is what the supervisor does first.
func beginning(path string, nested *Nested) *list {
	l := &list{base: memoryAddr + uint64(unsafe.Sizeof(memory{}))}
	// Nobody in the container may look into this process or at its descriptors, root neither.
	l.call(1, unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	l.try(unix.SYS_PRCTL, unix.PR_SET_NAME, l.text("supervisor"))
	// Streams that nobody gave are those of the container's own null device, not of the host's.
	l.try(unix.SYS_CLOSE, 0)
	l.call(2, unix.SYS_OPENAT, atCWD, l.text("/dev/null"), unix.O_RDWR, 0)
	l.call(2, unix.SYS_DUP3, 0, 1, 0)
	l.call(2, unix.SYS_DUP3, 0, 2, 0)
	l.try(unix.SYS_CLOSE_RANGE, deathsFD, ^uint64(0)>>32, 0)
	l.try(unix.SYS_CLOSE, deathsFD)
	scope(l)
	if nested != nil {
		nested.enter(l)
	}
	l.call(3, unix.SYS_FCNTL, socketFD, unix.F_SETFD, unix.FD_CLOEXEC)
	l.call(3, unix.SYS_FCNTL, statusFD, unix.F_SETFD, unix.FD_CLOEXEC)
	const (
		all   = ^uint64(0)
		child = uint64(1) << (unix.SIGCHLD - 1)
	)
	l.call(4, unix.SYS_RT_SIGPROCMASK, sigSetMask, l.words(all), 0, 8)
	l.call(5, unix.SYS_SIGNALFD4, all, l.words(child), 8, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	l.try(unix.SYS_UNLINKAT, atCWD, l.text(path), 0) // last: who made the container sees by it that all went well
	return l
}

// link makes an executable file of machine code that is entered at its beginning, and of its memory.
func link(text, data []byte) []byte {
	const (
		page    = 0x10000 // the largest that there is
		headers = 64 + 3*56
	)
	dataOffset := (uint64(headers+len(text)) + page - 1) / page * page
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{
			0x7f, 'E', 'L', 'F', elf.EI_CLASS: byte(elf.ELFCLASS64), elf.EI_DATA: byte(elf.ELFDATA2LSB),
			elf.EI_VERSION: byte(elf.EV_CURRENT),
		},
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: codeAddr + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 3,
	}
	segment := func(flags elf.ProgFlag, offset, addr, size uint64) elf.Prog64 {
		return elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(flags), Off: offset,
			Vaddr: addr, Paddr: addr, Filesz: size, Memsz: size, Align: page,
		}
	}
	var file bytes.Buffer
	for _, part := range []any{
		header,
		segment(elf.PF_R|elf.PF_X, 0, codeAddr, uint64(headers+len(text))),
		segment(elf.PF_R|elf.PF_W, dataOffset, memoryAddr, uint64(len(data))),
		elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16},
	} {
		_ = binary.Write(&file, binary.LittleEndian, part) // of fixed size, into memory: it cannot fail
	}
	file.Write(text)
	file.Write(make([]byte, dataOffset-uint64(file.Len())))
	file.Write(data)
	return file.Bytes()
}
