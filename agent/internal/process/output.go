package process

import (
	"fmt"
	"strings"
	"sync"
)

// A Bounded keeps the beginning and the end of what is written to it, and takes any amount. It may be read while it is
// written to.
type Bounded struct {
	max     int
	mu      sync.Mutex
	head    []byte
	tail    []byte // a ring once it is full
	at      int    // where the ring begins
	written int64  // bytes in all
}

// NewBounded keeps max bytes, at least 2.
func NewBounded(max int) *Bounded { return &Bounded{max: max} }

// Write never fails.
func (b *Bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(p)
	b.written += int64(n)
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
	if len(p) > size {
		p = p[len(p)-size:]
	}
	for len(p) > 0 {
		copied := copy(b.tail[b.at:], p)
		b.at, p = (b.at+copied)%size, p[copied:]
	}
	return n, nil
}

// String is what was written as valid UTF-8, of what is too long the beginning and the end around "\n... 1234 bytes left out ...\n".
func (b *Bounded) String() string { return b.Shortened(b.max) }

// Shortened is String with so many bytes kept at most, where NewBounded has said more.
func (b *Bounded) Shortened(most int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	most = min(most, b.max)
	text := string(b.head) + string(b.tail[b.at:]) + string(b.tail[:b.at])
	if left := b.written - int64(most); left > 0 {
		text = fmt.Sprintf("%s\n... %d bytes left out ...\n%s", text[:most/2], left, text[len(text)-(most-most/2):])
	}
	return strings.ToValidUTF8(text, "\ufffd")
}

// Truncated tells whether something was left out.
func (b *Bounded) Truncated() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written > int64(b.max)
}
