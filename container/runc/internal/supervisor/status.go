package supervisor

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"syscall"
)

// A StatusFile tells how processes ended. The supervisor writes to it in place, so that inotify(7) tells when.
type StatusFile struct{ f *os.File }

// OpenStatus opens the status file at path, and makes it if need be.
func OpenStatus(path string) (*StatusFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &StatusFile{f}, nil
}

// File is the descriptor 4 of the supervisor.
func (s *StatusFile) File() *os.File { return s.f }

// Close closes it.
func (s *StatusFile) Close() error { return s.f.Close() }

// Last returns the highest number of a process that was given. Reserve before Start makes it known.
func (s *StatusFile) Last() (uint32, error) {
	info, err := s.f.Stat()
	if err != nil {
		return 0, err
	}
	return uint32(max(info.Size()/statusSize-1, 0)), nil
}

// A Status of a process.
type Status struct {
	Started bool // the supervisor started it, and it did not fail to become the program
	Ended   bool
	Wait    syscall.WaitStatus // when it ended
}

// Read returns the status of the process with the given number.
func (s *StatusFile) Read(id uint32) (Status, error) {
	var buf [8]byte
	if _, err := s.f.ReadAt(buf[:], int64(id)*statusSize); err == io.EOF {
		return Status{}, nil
	} else if err != nil {
		return Status{}, fmt.Errorf("read the status of process %d: %w", id, err)
	}
	state, wait := binary.NativeEndian.Uint32(buf[:]), binary.NativeEndian.Uint32(buf[4:])
	return Status{
		Started: state == stateStarted || state == stateEnded,
		Ended:   state == stateEnded,
		Wait:    syscall.WaitStatus(wait),
	}, nil
}

// Reserve takes the number id: after it, Last is at least that. The disk being full is found here, and not later.
func (s *StatusFile) Reserve(id uint32) error { return s.write(id, status{}) }

// Fail notes that a process that was started never became its program.
func (s *StatusFile) Fail(id uint32) error { return s.write(id, status{state: stateFailed}) }

func (s *StatusFile) write(id uint32, st status) error {
	if _, err := s.f.WriteAt(bytesOf(&st), int64(id)*statusSize); err != nil {
		return fmt.Errorf("write the status of process %d: %w", id, err)
	}
	return nil
}
