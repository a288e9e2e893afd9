package transport

import (
	"errors"
	"io"
	"sync"
)

// ErrBusy: as many requests, or as many bytes of them, are under way as an agent lets in.
var ErrBusy = errors.New("too many requests are under way: ask again later")

// maxInFlight is the default of MaxInFlight: the four largest requests over HTTPS. What an agent makes of a request takes a few
// times its bytes.
const maxInFlight = 256 << 20

// A budget bounds the bytes of the requests that are under way at a time.
type budget struct {
	most int64

	mu   sync.Mutex
	used int64
}

func newBudget(most int64) *budget {
	if most <= 0 {
		most = maxInFlight
	}
	return &budget{most: most}
}

// A share is what one request has of a budget, until it gives it back. It belongs to one goroutine at a time.
type share struct {
	of *budget
	n  int64
}

// grow takes n more bytes, and tells whether there are so many. A request that is alone gets what it wants: it has a limit of its own.
func (s *share) grow(n int64) bool {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.of.used+n > s.of.most && s.of.used > s.n {
		return false
	}
	s.of.used, s.n = s.of.used+n, s.n+n
	return true
}

func (s *share) giveBack() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.used, s.n = s.of.used-s.n, 0
}

// A counted reader takes bytes of a share for what it reads beyond those that the share has already, and fails with ErrBusy when there
// are none.
type counted struct {
	io.Reader
	share *share
	read  int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += int64(n)
	if more := c.read - c.share.n; more > 0 && !c.share.grow(more) {
		return 0, ErrBusy
	}
	return n, err
}
