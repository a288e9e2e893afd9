package process

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

// PortRange is a range of ports, both ends included.
type PortRange struct {
	First, Last uint16
}

func (r PortRange) count() int { return int(r.Last) - int(r.First) + 1 }

// defaultPorts are the ports behind those that the kernel draws for outgoing connections, as Warden has it; those below
// where few are left behind.
func defaultPorts() PortRange {
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
		return PortRange{high + 1, 65535}
	case low >= 10000+enough:
		return PortRange{10000, low - 1}
	}
	return PortRange{61001, 65535}
}

// A portPool draws ports in turn, so that one that was given back is not drawn again before all others were: peers that
// still know it must not reach the next app.
type portPool struct {
	ports PortRange

	mu   sync.Mutex
	next int // offset from ports.First
}

func newPortPool(ports PortRange) *portPool {
	// Not always the first: after a restart, the ports drawn last would come back at once.
	return &portPool{ports: ports, next: rand.IntN(ports.count())}
}

// draw reserves the next free port.
func (p *portPool) draw() (*reservedPort, error) {
	for range p.ports.count() {
		p.mu.Lock()
		number := p.ports.First + uint16(p.next)
		p.next = (p.next + 1) % p.ports.count()
		p.mu.Unlock()
		if port, err := reservePort(number); err == nil {
			return port, nil
		}
	}
	return nil, fmt.Errorf("all ports from %d to %d are in use: %w", p.ports.First, p.ports.Last, container.ErrNoPort)
}

// A reservedPort is held for this process among all of this network namespace that ask the same way: by a Unix socket
// with an abstract name, which lasts until the last process that has it open ends. Supervisors have it open, too.
type reservedPort struct {
	number uint16
	lock   *os.File // nil: a supervisor that outlived its back end has it
}

// lockPort takes the name of a port, or fails with ErrNoPort when someone has it.
func lockPort(number uint16) (*os.File, error) {
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

// reservePort takes a port, or fails with ErrNoPort when someone holds it, or listens at it without having asked.
func reservePort(number uint16) (*reservedPort, error) {
	lock, err := lockPort(number)
	if err != nil {
		return nil, err
	}
	if err := probePort(number); err != nil {
		lock.Close()
		return nil, fmt.Errorf("port %d cannot be bound (%w): %w", number, err, container.ErrNoPort)
	}
	return &reservedPort{number, lock}, nil
}

func (p *reservedPort) release() {
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
