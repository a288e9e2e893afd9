package resources

import (
	"errors"
	"fmt"
	"math"
	"sync"
)

// Resource names what ran short; it is the word that the DEA logs as constrained resource (dea_ng).
type Resource string

// The resources of a ledger. None is the answer when nothing is short.
const (
	None   Resource = ""
	Memory Resource = "memory"
	Disk   Resource = "disk"
)

var (
	// ErrInvalidAmount: an amount is negative, or the sum of all would not fit 63 bits.
	ErrInvalidAmount = errors.New("invalid amount")
	// ErrReleased: the reservation was given back already.
	ErrReleased = errors.New("reservation was released")
)

// InsufficientError says which resource ran short. Disk is looked at before memory (dea_ng).
type InsufficientError struct {
	Resource  Resource
	Wanted    int64 // bytes
	Remaining int64 // bytes; negative when more is reserved than there is
}

func (e *InsufficientError) Error() string {
	return fmt.Sprintf("not enough %s: %d bytes wanted, %d remain", e.Resource, e.Wanted, e.Remaining)
}

// Amount is a quantity of each resource. Zero is a valid amount of either.
type Amount struct {
	MemoryBytes int64
	DiskBytes   int64
}

func (a Amount) plus(b Amount) Amount {
	return Amount{a.MemoryBytes + b.MemoryBytes, a.DiskBytes + b.DiskBytes}
}

func (a Amount) minus(b Amount) Amount {
	return Amount{a.MemoryBytes - b.MemoryBytes, a.DiskBytes - b.DiskBytes}
}

// Capacity is what a node has to give, in bytes.
type Capacity struct {
	MemoryBytes int64
	DiskBytes   int64
}

// Overcommit returns c multiplied by the given factors; 1 leaves a resource as it is. The result is rounded down, and
// bounded to what 63 bits hold.
func (c Capacity) Overcommit(memory, disk float64) Capacity {
	return Capacity{scale(c.MemoryBytes, memory), scale(c.DiskBytes, disk)}
}

func scale(bytes int64, factor float64) int64 {
	if factor == 1 {
		return bytes // exact where float64 is not
	}
	switch scaled := math.Floor(float64(bytes) * factor); {
	case !(scaled > 0): // NaN too
		return 0
	case scaled >= math.MaxInt64:
		return math.MaxInt64
	default:
		return int64(scaled)
	}
}

// A Ledger counts reservations against a capacity. It may be used from several goroutines at once.
type Ledger struct {
	capacity Capacity

	mu       sync.Mutex
	reserved Amount
}

// NewLedger returns a ledger with nothing reserved. A negative capacity counts as none.
func NewLedger(c Capacity) *Ledger {
	return &Ledger{capacity: Capacity{max(c.MemoryBytes, 0), max(c.DiskBytes, 0)}}
}

// Capacity returns what the ledger was made with.
func (l *Ledger) Capacity() Capacity { return l.capacity }

// Reserve takes a from what remains: all of it, or nothing and an [*InsufficientError]. A negative amount is an
// ErrInvalidAmount. The caller releases the reservation.
func (l *Ledger) Reserve(a Amount) (*Reservation, error) {
	return l.reserve(a, true)
}

// ReserveAlways takes a whether it fits or not, for work that exists already: after a restart, what runs has to be
// counted, and Remaining may become negative. It fails with ErrInvalidAmount only.
func (l *Ledger) ReserveAlways(a Amount) (*Reservation, error) {
	return l.reserve(a, false)
}

func (l *Ledger) reserve(a Amount, mustFit bool) (*Reservation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &Reservation{ledger: l}
	if err := l.change(r, a, mustFit); err != nil {
		return nil, err
	}
	return r, nil
}

// change replaces what r holds by a. l.mu is held.
func (l *Ledger) change(r *Reservation, a Amount, mustFit bool) error {
	others := l.reserved.minus(r.amount)
	if a.MemoryBytes < 0 || a.DiskBytes < 0 ||
		a.MemoryBytes > math.MaxInt64-others.MemoryBytes || a.DiskBytes > math.MaxInt64-others.DiskBytes {
		return fmt.Errorf("reserve %d bytes of memory and %d of disk: %w", a.MemoryBytes, a.DiskBytes, ErrInvalidAmount)
	}
	if mustFit {
		// Only growth has to fit: an overbooked ledger must not keep anyone from shrinking.
		if err := l.shortage(a.minus(r.amount)); err != nil {
			return err
		}
	}
	r.amount = a
	l.reserved = others.plus(a)
	return nil
}

// shortage returns the InsufficientError for a further amount, or nil. What is not wanted cannot run short. l.mu is held.
func (l *Ledger) shortage(a Amount) error {
	switch left := l.remaining(); {
	case a.DiskBytes > 0 && a.DiskBytes > left.DiskBytes:
		return &InsufficientError{Disk, a.DiskBytes, left.DiskBytes}
	case a.MemoryBytes > 0 && a.MemoryBytes > left.MemoryBytes:
		return &InsufficientError{Memory, a.MemoryBytes, left.MemoryBytes}
	}
	return nil
}

func (l *Ledger) remaining() Amount {
	return Amount(l.capacity).minus(l.reserved)
}

// Reserved returns the sum of all reservations.
func (l *Ledger) Reserved() Amount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reserved
}

// Remaining returns capacity minus reservations. It is negative after ReserveAlways took more than there was.
func (l *Ledger) Remaining() Amount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remaining()
}

// Fits tells whether Reserve(a) would succeed at this moment.
func (l *Ledger) Fits(a Amount) bool { return l.Constrained(a) == None }

// Constrained names the resource that keeps a from fitting, disk before memory (dea_ng); None when it fits. An
// amount below zero never fits.
func (l *Ledger) Constrained(a Amount) Resource {
	l.mu.Lock()
	defer l.mu.Unlock()
	var short *InsufficientError
	switch {
	case a.DiskBytes < 0:
		return Disk
	case a.MemoryBytes < 0:
		return Memory
	case errors.As(l.shortage(a), &short):
		return short.Resource
	}
	return None
}

// Reservable returns how many reservations of a would fit one after the other. It is 0 when either resource of a is 0
// (dea_ng, number_reservable).
func (l *Ledger) Reservable(a Amount) int {
	if a.MemoryBytes <= 0 || a.DiskBytes <= 0 {
		return 0
	}
	left := l.Remaining()
	return int(max(min(left.MemoryBytes/a.MemoryBytes, left.DiskBytes/a.DiskBytes), 0))
}

// A Reservation is what one piece of work holds. It may be used from several goroutines at once.
type Reservation struct {
	ledger   *Ledger
	amount   Amount // guarded, as all below, by ledger.mu
	released bool
}

// Amount returns what is held: zero after Release.
func (r *Reservation) Amount() Amount {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	return r.amount
}

// Resize changes what is held to a. Shrinking always works; what grows must fit, else the reservation stays as it was
// and the error is an [*InsufficientError] whose Wanted is the growth. An instance that crashed keeps its disk this
// way and gives back its memory. After Release the error is ErrReleased.
func (r *Reservation) Resize(a Amount) error {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	if r.released {
		return fmt.Errorf("resize: %w", ErrReleased)
	}
	return r.ledger.change(r, a, true)
}

// Release gives back what is held. Further calls do nothing.
func (r *Reservation) Release() {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	r.ledger.reserved = r.ledger.reserved.minus(r.amount)
	r.amount, r.released = Amount{}, true
}
