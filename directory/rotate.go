package directory

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// How often a tail that outlives its file looks whether another one has taken its place. While the present file has kept its name
// that only comes of a link that is switched, which nothing tells of.
const (
	rotationPace = 200 * time.Millisecond
	linkPace     = time.Second
)

// A rotation knows where the next file will be.
type rotation struct {
	location Location
	dev, ino uint64 // of the present file, whose open handle keeps the number from being given away
}

// A rotationClock ticks when it is time to look. Nil never does.
type rotationClock struct {
	*time.Ticker
	pace time.Duration
}

func (r *rotation) clock() *rotationClock {
	if r == nil {
		return nil
	}
	return &rotationClock{time.NewTicker(linkPace), linkPace}
}

func (c *rotationClock) stop() {
	if c != nil {
		c.Stop()
	}
}

// ticks tells of the next time to look, by whether the present file is gone.
func (c *rotationClock) ticks(gone bool) <-chan time.Time {
	if c == nil {
		return nil
	}
	pace := linkPace
	if gone {
		pace = rotationPace
	}
	if pace != c.pace {
		c.pace = pace
		c.Reset(pace)
	}
	return c.C
}

// next opens the file that has taken the place of the present one, or returns nil as long as there is none, or none with
// content: a writer that has not opened the new file yet still writes to the old one. It reports whether the whole tree
// is gone.
func (r *rotation) next() (h *handle, over bool) {
	h, err := r.location.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, r.treeIsGone()
	}
	if err != nil {
		return nil, false // a link that leads out, or a FIFO, may be there for a moment only
	}
	if h.isDir() || h.stat.Size == 0 || uint64(h.stat.Dev) == r.dev && h.stat.Ino == r.ino {
		h.close()
		return nil, false
	}
	return h, false
}

func (r *rotation) treeIsGone() bool {
	h, err := Location{Tree: r.location.Tree}.open()
	if err == nil {
		h.close()
	}
	return errors.Is(err, fs.ErrNotExist)
}

// rotate goes on with the next file, if there is one, after all that was written to the present one. It reports whether the
// tail is over because nothing will come any more.
func (t *tailing) rotate(ctx context.Context) (over bool, err error) {
	h, over := t.rotation.next()
	if h == nil {
		return over, nil
	}
	if _, err := t.out.copyNew(ctx); err != nil {
		h.close()
		return false, err
	}
	t.rotation.dev, t.rotation.ino = uint64(h.stat.Dev), h.stat.Ino
	before := t.follower
	t.follower = t.server.watcher.Follow(h.fd, h.name)
	before.Leave()
	t.out.change(t.follower.File())
	return false, nil
}
