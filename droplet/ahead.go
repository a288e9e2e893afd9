package droplet

import (
	"errors"
	"io"
	"sync"
)

// An aheadReader reads its source in a goroutine, so that decompression and the work on the result overlap.
type aheadReader struct {
	full  chan piece
	free  chan []byte
	stop  chan struct{} // closed by Close
	ended chan struct{} // closed when the goroutine has ended
	done  func()        // called once by Close, when nobody reads the source any more

	closing sync.Once

	current piece
	rest    []byte // of current.data that was not read yet
}

type piece struct {
	data []byte
	err  error // of the source, after data
}

const aheadPieces = 4

var errClosed = errors.New("droplet reader is closed")

func newAheadReader(r io.Reader, done func()) *aheadReader {
	a := &aheadReader{
		full:  make(chan piece, aheadPieces),
		free:  make(chan []byte, aheadPieces),
		stop:  make(chan struct{}),
		ended: make(chan struct{}),
		done:  done,
	}
	for range aheadPieces {
		a.free <- make([]byte, chunkBytes)
	}
	go a.fill(r)
	return a
}

func (a *aheadReader) fill(r io.Reader) {
	defer close(a.ended)
	for {
		select {
		case <-a.stop:
			return
		case buf := <-a.free:
			n, err := 0, error(nil)
			for n < len(buf) && err == nil {
				var some int
				some, err = r.Read(buf[n:])
				n += some
			}
			a.full <- piece{buf[:n], err} // as many fit as there are buffers
			if err != nil {
				return
			}
		}
	}
}

func (a *aheadReader) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.current.err != nil {
			return 0, a.current.err
		}
		if a.current.data != nil {
			a.free <- a.current.data[:chunkBytes]
			a.current = piece{} // it is given back once
		}
		select {
		case <-a.stop:
			return 0, errClosed
		case a.current = <-a.full:
			a.rest = a.current.data
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the goroutine and waits for it. It interrupts a Read that waits.
func (a *aheadReader) Close() error {
	a.closing.Do(func() {
		close(a.stop)
		<-a.ended
		a.done()
	})
	return nil
}
