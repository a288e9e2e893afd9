package supervisor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone: there is no supervisor any more, and so no process of the container.
var ErrGone = errors.New("the supervisor has ended")

// killPatience is how long a supervisor that is busy may take to hear that a process is not wanted any more.
const killPatience = time.Second

// A Client talks to the supervisor that reads from the socket of a name.
type Client struct{ path string }

// NewClient returns the client for the socket at path. It does nothing.
func NewClient(path string) *Client { return &Client{path} }

// Listen makes the socket, and returns the end for the supervisor, its descriptor 3.
func Listen(path string) (*os.File, error) {
	name, dir, err := address(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "bind", Path: path, Err: err}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// address returns a short name for a socket, as a long one has no place in an address. It is valid until dir is closed.
func address(path string) (name string, dir *os.File, err error) {
	dir, err = os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path)), dir, nil
}

// send sends a message, with files.
func (c *Client) send(ctx context.Context, m message, files ...*os.File) error {
	name, dir, err := address(c.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return gone(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetWriteDeadline(unixEpoch) })()
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	// Not WriteMsgUnix, which refuses a socket that is connected.
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), bytesOf(&m), rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	}
	return gone(sent)
}

func gone(err error) error {
	for _, number := range []unix.Errno{unix.ECONNREFUSED, unix.ENOENT, unix.EPIPE, unix.ECONNRESET} {
		if errors.Is(err, number) {
			return ErrGone
		}
	}
	return err
}

// Signal sends a signal to the process group of a process. It does not wait for that; one that has ended is no error.
func (c *Client) Signal(ctx context.Context, id uint32, sig syscall.Signal) error {
	return c.send(ctx, message{kind: kindSignal, id: id, signal: int32(sig)})
}

// End sends a signal to all processes of the container, and lets the supervisor end when none is left. It may be called
// again, and does not wait.
func (c *Client) End(ctx context.Context, sig syscall.Signal) error {
	return c.send(ctx, message{kind: kindEnd, signal: int32(sig)})
}

// Start starts a process with the given number, which must be new, and returns when its program runs. streams are its
// standard input, output and error; nil stands for the null device.
//
// Errors are ErrGone, a *StepError, and those of ctx: then the process, if there is one, is killed.
func (c *Client) Start(ctx context.Context, id uint32, p Process, streams [3]*os.File) error {
	request, err := p.compose(streams)
	if err != nil {
		return err
	}
	memory, err := memoryFile(request)
	if err != nil {
		return err
	}
	defer memory.Close()
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close()
	files := []*os.File{memory, theirs}
	for _, f := range streams {
		if f != nil {
			files = append(files, f)
		}
	}
	err = c.send(ctx, message{kind: kindStart, id: id}, files...)
	theirs.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { ours.SetReadDeadline(unixEpoch) })
	defer stop()
	err = readReports(ours)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// It may still be started later.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
		defer cancel()
		return errors.Join(ctx.Err(), c.Signal(last, id, unix.SIGKILL))
	}
	return err
}

// readReports reads what happens until the program runs, or will not: the pipe ends then.
func readReports(pipe io.Reader) error {
	forked := false
	for {
		var buf [8]byte
		switch _, err := io.ReadFull(pipe, buf[:]); {
		case err == io.EOF && forked:
			return nil
		case err == io.EOF:
			return ErrGone
		case err != nil:
			return err
		}
		r := report{int32(binary.NativeEndian.Uint32(buf[:])), int32(binary.NativeEndian.Uint32(buf[4:]))}
		if r.code < 0 {
			return &StepError{Step: Step(r.what), Err: syscall.Errno(-r.code)}
		}
		forked = true
	}
}

// memoryFile returns a file without a name.
func memoryFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("request", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "request")
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, fmt.Errorf("write the request: %w", err)
	}
	return f, nil
}
