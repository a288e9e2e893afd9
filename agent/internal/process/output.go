package process

import (
	"strings"
	"sync"
)

// cut stands for what a Bounded has left out.
const cut = "\n...[truncated]...\n"

// A Bounded keeps the beginning and the end of what is written to it, and takes any amount. It may be read while it is
// written to.
type Bounded struct {
	max     int
	mu      sync.Mutex
	head    []byte
	tail    []byte // a ring once it is full
	at      int    // where the ring begins
	dropped bool
}

// NewBounded keeps max bytes, at least 2.
func NewBounded(max int) *Bounded { return &Bounded{max: max} }

// Write never fails.
func (b *Bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(p)
	if room := b.max/2 - len(b.head); room > 0 {
		take := min(room, len(p))
		b.head, p = append(b.head, p[:take]...), p[take:]
	}
	size := b.max - b.max/2
	if room := size - len(b.tail); room > 0 {
		take := min(room, len(p))
		b.tail, p = append(b.tail, p[:take]...), p[take:]
	}
	if len(p) == 0 {
		return n, nil
	}
	b.dropped = true
	if len(p) > size {
		p = p[len(p)-size:]
	}
	for len(p) > 0 {
		copied := copy(b.tail[b.at:], p)
		b.at, p = (b.at+copied)%size, p[copied:]
	}
	return n, nil
}

// String is what was written, or its beginning and end around "...[truncated]...", as valid UTF-8.
func (b *Bounded) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	middle := ""
	if b.dropped {
		middle = cut
	}
	return strings.ToValidUTF8(string(b.head)+middle+string(b.tail[b.at:])+string(b.tail[:b.at]), "\ufffd")
}

// Truncated tells whether something was left out.
func (b *Bounded) Truncated() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}
