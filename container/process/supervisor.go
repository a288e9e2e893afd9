package process

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A supervisor is the parent of each process of a container, so that someone learns its exit status when the program
// that embeds this package is killed. It is a program of a few hundred bytes, written in assembly (supervisor_*.s), whose
// image is kept in memory. Its descriptors are named below; its arguments are a name for itself, the path of the
// program, and the program's arguments; the environment is the program's.
//
//  1. It closes what other descriptors it inherited, and forks. The child makes a session of its own and waits at the
//     gate for one byte; if the gate is closed instead, it ends. Then it executes the program, with no descriptors but
//     the first three. If that fails it reports the negative error number, and ends.
//  2. The supervisor wipes its copy of arguments and environment, reports the pid of the child, or a negative error
//     number, and waits. When the child has ended, it appends a death to the process file, and ends.
//
// Nothing less will do. A shell would edit the environment, cannot give a child a session, and does not tell a program
// that ended with status 127 from one that could not be executed. Nobody but a parent learns an exit status from all
// kernels that are in use; so the parent must be someone who outlives us.
type supervisor struct {
	image *os.File // in memory and sealed
}

// Descriptors of a supervisor, after those of the program. Locks of ports follow: it holds them as long as it lives.
const (
	imageFD  = 3 + iota // itself, which it closes
	statusFD            // the process file
	reportFD            // to us: a pid or an error number, and then, when the program is executed, the end
	gateFD              // from us
)

var errNoSupervisor = errors.New("there is no supervisor for this processor architecture")

// newSupervisor makes the image, and sees that it can be executed: a hardened system may forbid that.
func newSupervisor() (*supervisor, error) {
	start, end := supervisorText()
	if start == nil || uintptr(end) <= uintptr(start) {
		return nil, errNoSupervisor
	}
	image, err := memoryFile(program(unsafe.Slice((*byte)(start), uintptr(end)-uintptr(start))))
	if err != nil {
		return nil, fmt.Errorf("make the supervisor: %w", err)
	}
	s := &supervisor{image}
	if err := s.try(); err != nil {
		image.Close()
		return nil, fmt.Errorf("try the supervisor: %w", err)
	}
	return s, nil
}

// try lets the supervisor fail to execute what no file can be.
func (s *supervisor) try() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	const noFile = os.DevNull + "/none"
	attr := &os.ProcAttr{Env: []string{"A="}, Files: []*os.File{null, null, null}}
	_, err = s.start(noFile, []string{noFile}, attr, null, nil, func(*os.Process, int) error { return nil })
	if errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return fmt.Errorf("it answered: %w", err)
}

func (s *supervisor) close() error { return s.image.Close() }

// start starts a program below a supervisor, which is returned. The arguments are those of os.StartProcess; attr.Files
// are the first three. prepare is called with the supervisor and the pid of what will become the program, and holds it
// back until it returns. When start fails, nothing is left.
func (s *supervisor) start(path string, argv []string, attr *os.ProcAttr, status *os.File, held []*os.File,
	prepare func(keeper *os.Process, pid int) error,
) (*os.Process, error) {
	report, theirReport, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer report.Close()
	theirGate, gate, err := os.Pipe()
	if err != nil {
		theirReport.Close()
		return nil, err
	}
	defer gate.Close()
	attr.Files = append(attr.Files[:3:3], s.image, status, theirReport, theirGate)
	attr.Files = append(attr.Files, held...)
	// By the number that it has there: any other could be taken by one of the files.
	keeper, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", imageFD), append([]string{"deakit-supervisor", path}, argv...), attr)
	theirReport.Close()
	theirGate.Close()
	if err != nil {
		return nil, cannotStart(path, err)
	}
	pid, err := readReport(report)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = errors.New("its supervisor was killed: try again")
	}
	if err == nil {
		err = prepare(keeper, pid)
	}
	if err == nil {
		err = openGate(gate, report)
	}
	if err != nil {
		gate.Close() // the child ends, and then the supervisor
		_, _ = keeper.Wait()
		return nil, cannotStart(path, err)
	}
	return keeper, nil
}

// cannotStart says of which program an error is.
func cannotStart(path string, err error) error {
	var failed *os.PathError
	var number syscall.Errno
	switch {
	case errors.As(err, &failed):
		return &os.PathError{Op: "start", Path: path, Err: failed.Err}
	case errors.As(err, &number):
		return &os.PathError{Op: "start", Path: path, Err: number}
	}
	return err
}

// readReport reads one report: a pid, or io.EOF when the other side has closed its end.
func readReport(report io.Reader) (pid int, err error) {
	var answer [4]byte
	if _, err := io.ReadFull(report, answer[:]); err != nil {
		return 0, err
	}
	number := int32(binary.NativeEndian.Uint32(answer[:]))
	if number <= 0 {
		return 0, syscall.Errno(-number)
	}
	return int(number), nil
}

// openGate lets the child execute the program, and returns when it has.
func openGate(gate io.Writer, report io.Reader) error {
	if _, err := gate.Write([]byte{1}); err != nil {
		return err
	}
	switch _, err := readReport(report); {
	case err == io.EOF:
		return nil
	case err == nil:
		return errors.New("unexpected report of the supervisor")
	default:
		return err
	}
}

// program makes an executable file of machine code that is entered at its beginning and needs no data but the stack.
func program(code []byte) []byte {
	const (
		headers = 64 + 2*56
		base    = 0x400000
	)
	size := uint64(headers + len(code))
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{
			0x7f, 'E', 'L', 'F', elf.EI_CLASS: byte(elf.ELFCLASS64), elf.EI_DATA: byte(elf.ELFDATA2LSB),
			elf.EI_VERSION: byte(elf.EV_CURRENT),
		},
		Type: uint16(elf.ET_EXEC), Machine: uint16(supervisorMachine), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	load := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x10000,
	}
	stack := elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16}
	var file bytes.Buffer
	for _, part := range []any{header, load, stack} {
		_ = binary.Write(&file, binary.LittleEndian, part) // of fixed size, into memory: it cannot fail
	}
	file.Write(code)
	return file.Bytes()
}

// memoryFile returns a file that has no name and cannot be changed.
func memoryFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("deakit-supervisor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all may be executed
		fd, err = unix.MemfdCreate("deakit-supervisor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "deakit-supervisor")
	_, err = f.Write(content)
	if err == nil {
		const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
