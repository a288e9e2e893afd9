package runc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/network"
	"github.com/deakit/deakit/container/runc/userns"
)

// maxShared is how many containers there are at most that share the host's network.
const maxShared = 65536

// errNoSlot: there are as many containers as there are networks or user ids.
var errNoSlot = errors.New("no network or user id is left for another container: enlarge Options.Network.Pool")

// A slot is a number that tells a container's user id and its network. No other container on the machine has it, of this
// depot or another with the same pools.
type slot struct {
	index int
	uid   int
	lock  net.PacketConn // nil if another had the name
}

// slotPool draws slots in turn, so that one that was given back is not drawn again before all others were.
type slotPool struct {
	uids int
	size int
	net  *network.Network // may be nil
	ids  userns.IDs
	// shift is between the user id of a slot and that of the host.
	shift int

	mu   sync.Mutex
	next int
	used map[int]bool
}

func newSlotPool(uids, size int, n *network.Network, ids userns.IDs, shift int) *slotPool {
	return &slotPool{uids: uids, size: size, net: n, ids: ids, shift: shift, next: rand.IntN(size), used: map[int]bool{}}
}

func (p *slotPool) draw() (*slot, error) {
	taken, err := p.takenElsewhere()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.size {
		index := p.next
		p.next = (p.next + 1) % p.size
		if p.used[index] {
			continue
		}
		if p.net != nil {
			if host, _ := p.net.Addresses(index); taken[host] {
				continue
			}
		}
		s := p.slot(index)
		if s.lock == nil && !p.shared() {
			continue
		}
		p.used[index] = true
		return s, nil
	}
	return nil, errNoSlot
}

// hold takes the slot of a container that has it already.
func (p *slotPool) hold(index int) (*slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if index < 0 || index >= p.size || p.used[index] {
		return nil, fmt.Errorf("slot %d is taken, or not of this pool: Options.Network must not change while there are containers",
			index)
	}
	p.used[index] = true
	return p.slot(index), nil
}

// shared tells that there is one user id for all.
func (p *slotPool) shared() bool { return p.ids.Count == 1 }

// uid is that of a slot.
func (p *slotPool) uid(index int) int {
	if p.shared() {
		return 0
	}
	return p.uids + index
}

// slot makes a slot, and takes its name on this machine: a Unix socket, which ends with this process at the latest.
func (p *slotPool) slot(index int) *slot {
	s := &slot{index: index, uid: p.uid(index)}
	if p.shared() {
		return s
	}
	lock, err := net.ListenPacket("unixgram", fmt.Sprintf("@deakit-runc-%d", p.ids.Outer(s.uid+p.shift)))
	if err == nil {
		s.lock = lock
	}
	return s
}

// release gives a slot back.
func (p *slotPool) release(s *slot) {
	p.mu.Lock()
	delete(p.used, s.index)
	p.mu.Unlock()
	s.letGo()
}

// letGo gives up the name, and leaves the slot in use.
func (s *slot) letGo() {
	if s.lock != nil {
		s.lock.Close()
	}
}

// takenElsewhere returns the addresses that this machine has: also those of containers that nobody holds at the moment.
func (p *slotPool) takenElsewhere() (map[netip.Addr]bool, error) {
	if p.net == nil {
		return nil, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	taken := map[netip.Addr]bool{}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			taken[prefix.Addr()] = true
		}
	}
	return taken, nil
}

// parsePool reads Options.Network.Pool.
func parsePool(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("option Network.Pool: %w: %w", err, container.ErrInvalid)
	}
	return p, nil
}
