package droplet

import (
	"bytes"
	"io"
	"runtime"
	"sync"
)

// maxWorkers bounds the blocks that are compressed at a time, and thereby the memory of a pack on large machines.
const maxWorkers = 16

// A codec turns the blocks of one stream into what stands behind each other in the compressed stream. Its sizes decide,
// with the level, on the bytes that come out: the number of processors does not.
type codec interface {
	sizes() (block, window int)  // of the input at a time, and of its end that the next block gets as dict
	worker() (compressor, error) // for the use of one goroutine at a time
	header() []byte              // before the first block
	input(p []byte)              // sees all input in order
	trailer() []byte             // behind the last block
}

// A compressor compresses one block after the other. Its destination takes all.
type compressor interface {
	compress(out *bytes.Buffer, dict, data []byte, last bool)
}

// A parallelWriter compresses on all processors. It cuts its input into blocks that are compressed at the same time, and
// puts the results one behind the other. The writer below is used by one goroutine of it until Close returns.
type parallelWriter struct {
	codec         codec
	block, window int

	current *block
	free    chan *block   // blocks that nobody uses
	ordered chan *block   // blocks in the order of the input
	ended   chan struct{} // closed by emit

	mu  sync.Mutex
	err error // of the writer below
}

// A block is a piece of the input on its way through a compressor. Its memory is made at its first use, so that a small
// stream takes little.
type block struct {
	dict, data []byte
	last       bool
	compressor compressor
	out        bytes.Buffer
	done       chan struct{} // receives once the block is compressed
}

// newParallelWriter compresses to w. The caller calls Close in every case.
func newParallelWriter(w io.Writer, c codec) (*parallelWriter, error) {
	blocks := min(runtime.GOMAXPROCS(0), maxWorkers) + 2 // one is filled, one is written out
	z := &parallelWriter{
		codec:   c,
		free:    make(chan *block, blocks),
		ordered: make(chan *block, blocks),
		ended:   make(chan struct{}),
	}
	z.block, z.window = c.sizes()
	for range blocks {
		worker, err := c.worker()
		if err != nil {
			return nil, err
		}
		z.free <- &block{compressor: worker, done: make(chan struct{}, 1)}
	}
	z.current = z.take(nil)
	go z.emit(w)
	return z, nil
}

// take waits for a free block, whose dictionary becomes the end of what stands before it.
func (z *parallelWriter) take(before []byte) *block {
	b := <-z.free
	if b.data == nil {
		b.data, b.dict = make([]byte, 0, z.block), make([]byte, 0, z.window)
	}
	b.data = b.data[:0]
	b.dict = append(b.dict[:0], before[max(0, len(before)-z.window):]...)
	return b
}

func (z *parallelWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if err := z.failure(); err != nil {
			return written, err
		}
		n := min(len(p), z.block-len(z.current.data))
		z.current.data = append(z.current.data, p[:n]...)
		p, written = p[n:], written+n
		if len(z.current.data) == z.block {
			z.submit(false)
		}
	}
	return written, nil
}

// submit hands the current block to the compressors and takes up the next one.
func (z *parallelWriter) submit(last bool) {
	full := z.current
	full.last = last
	z.codec.input(full.data)
	var next *block
	if !last {
		next = z.take(full.data)
	}
	z.ordered <- full
	go full.compress()
	z.current = next
}

func (b *block) compress() {
	b.out.Reset()
	b.compressor.compress(&b.out, b.dict, b.data, b.last)
	b.done <- struct{}{}
}

// emit writes the blocks in order. After a failure it goes on to receive them, so that nobody waits for it in vain, and
// so that all compressors have ended when it has.
func (z *parallelWriter) emit(w io.Writer) {
	defer close(z.ended)
	_, err := w.Write(z.codec.header())
	for b := range z.ordered {
		<-b.done
		if err == nil {
			_, err = w.Write(b.out.Bytes())
		}
		if err != nil {
			z.mu.Lock()
			z.err = err
			z.mu.Unlock()
		}
		z.free <- b
	}
	if err == nil {
		_, z.err = w.Write(z.codec.trailer())
	}
}

func (z *parallelWriter) failure() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.err
}

// Close writes what is left and the trailer, and returns when all goroutines have ended.
func (z *parallelWriter) Close() error {
	if z.current != nil {
		z.submit(true)
		close(z.ordered)
	}
	<-z.ended
	return z.failure()
}
