// Package hostport draws ports of the host for containers, such that all who draw this way, on one machine, never share
// one.
package hostport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

// Range is a range of ports, both ends included.
type Range struct {
	First, Last uint16
}

func (r Range) count() int { return int(r.Last) - int(r.First) + 1 }

// Default are the ports behind those that the kernel draws for outgoing connections, as Warden has it; those below
// where few are left behind.
func Default() Range {
	low, high := uint16(32768), uint16(60999)
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if fields := bytes.Fields(text); len(fields) == 2 {
			l, lowErr := strconv.ParseUint(string(fields[0]), 10, 16)
			h, highErr := strconv.ParseUint(string(fields[1]), 10, 16)
			if lowErr == nil && highErr == nil {
				low, high = uint16(l), uint16(h)
			}
		}
	}
	const enough = 1000
	switch {
	case high <= 65535-enough:
		return Range{high + 1, 65535}
	case low >= 10000+enough:
		return Range{10000, low - 1}
	}
	return Range{61001, 65535}
}

// A Pool draws ports in turn, so that one that was given back is not drawn again before all others were: peers that
// still know it must not reach the next app.
type Pool struct {
	ports Range

	mu   sync.Mutex
	next int // offset from ports.First
}

// NewPool returns the pool of a range, which must not be empty.
func NewPool(ports Range) *Pool {
	// Not always the first: after a restart, the ports drawn last would come back at once.
	return &Pool{ports: ports, next: rand.IntN(ports.count())}
}

// Draw reserves the next free port.
func (p *Pool) Draw() (*Port, error) {
	for range p.ports.count() {
		p.mu.Lock()
		number := p.ports.First + uint16(p.next)
		p.next = (p.next + 1) % p.ports.count()
		p.mu.Unlock()
		if port, err := Reserve(number); err == nil {
			return port, nil
		}
	}
	return nil, fmt.Errorf("all ports from %d to %d are in use: %w", p.ports.First, p.ports.Last, container.ErrNoPort)
}

// A Port is held for this process among all of this network namespace that ask the same way: by a Unix socket
// with an abstract name, which lasts until the last process that has it open ends.
type Port struct {
	number uint16
	lock   *os.File // nil: someone else has it
}

// Reserve takes a port, or fails with ErrNoPort when someone holds it, or listens at it without having asked.
func Reserve(number uint16) (*Port, error) {
	lock, err := take(number)
	if err != nil {
		return nil, err
	}
	if err := probePort(number); err != nil {
		lock.Close()
		return nil, fmt.Errorf("port %d cannot be bound (%w): %w", number, err, container.ErrNoPort)
	}
	return &Port{number, lock}, nil
}

// Held is a port of a container that has it already, as an earlier process gave it. [Port.Hold] takes it.
func Held(number uint16) *Port { return &Port{number: number} }

// Hold takes the port, unless this process has it, whoever listens at it. It fails with ErrNoPort when someone holds it.
func (p *Port) Hold() (err error) {
	if p.lock == nil {
		p.lock, err = take(p.number)
	}
	return err
}

// take takes the name of a port, or fails with ErrNoPort when someone has it.
func take(number uint16) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	name := fmt.Sprintf("@deakit-port-%d", number)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("port %d is reserved: %w", number, container.ErrNoPort)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Number is the port.
func (p *Port) Number() uint16 { return p.number }

// Lock is what holds the port as long as some process has it open, or nil when this process does not hold it. It belongs to
// the port.
func (p *Port) Lock() *os.File { return p.lock }

// Release gives it back.
func (p *Port) Release() {
	if p.lock != nil {
		p.lock.Close()
	}
}

// probePort tells whether an app could listen at the port of every address. It binds and does not listen, so that
// nobody can connect meanwhile; and it asks as servers do, so that connections that linger do not count.
func probePort(number uint16) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Port: int(number)})
}
