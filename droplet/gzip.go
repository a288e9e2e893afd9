package droplet

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/flate"
)

const (
	// blockBytes is what is compressed at a time. It decides, with the level, on the bytes that come out: the number
	// of processors does not.
	blockBytes = 512 << 10
	// windowBytes is how far back deflate refers (RFC 1951).
	windowBytes = 32 << 10
)

// gzipHeader is that of a stream without name and time, made by an unknown system (RFC 1952).
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// A gzipWriter compresses on all processors. It cuts its input into blocks that are compressed at the same time, each
// with the end of the one before as its dictionary, and puts the results one behind the other: one deflate stream, one
// gzip member, the same bytes each time. The writer below is used by one goroutine of it until Close returns.
type gzipWriter struct {
	current *block
	free    chan *block   // blocks that nobody uses
	ordered chan *block   // blocks in the order of the input
	ended   chan struct{} // closed by emit

	mu  sync.Mutex
	err error // of the writer below

	crc  uint32
	size uint32 // modulo 2^32, as the trailer wants it
}

// A block is a piece of the input on its way through a compressor.
type block struct {
	dict, data []byte
	last       bool
	deflate    *flate.Writer
	out        bytes.Buffer
	done       chan struct{} // receives once the block is compressed
}

// newGzipWriter compresses to w. level is one of flate. The caller calls Close in every case.
func newGzipWriter(w io.Writer, level int) (*gzipWriter, error) {
	blocks := runtime.GOMAXPROCS(0) + 2 // one is filled, one is written out
	z := &gzipWriter{
		free:    make(chan *block, blocks),
		ordered: make(chan *block, blocks),
		ended:   make(chan struct{}),
	}
	for range blocks {
		deflate, err := flate.NewWriter(io.Discard, level)
		if err != nil {
			return nil, err
		}
		z.free <- &block{
			data:    make([]byte, 0, blockBytes),
			dict:    make([]byte, 0, windowBytes),
			deflate: deflate,
			done:    make(chan struct{}, 1),
		}
	}
	z.current = <-z.free
	go z.emit(w)
	return z, nil
}

func (z *gzipWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if err := z.failure(); err != nil {
			return written, err
		}
		n := min(len(p), blockBytes-len(z.current.data))
		z.current.data = append(z.current.data, p[:n]...)
		p, written = p[n:], written+n
		if len(z.current.data) == blockBytes {
			z.submit(false)
		}
	}
	return written, nil
}

// submit hands the current block to the compressors and takes up the next one.
func (z *gzipWriter) submit(last bool) {
	full := z.current
	full.last = last
	z.crc = crc32.Update(z.crc, crc32.IEEETable, full.data)
	z.size += uint32(len(full.data))
	var next *block
	if !last {
		next = <-z.free
		next.dict = append(next.dict[:0], full.data[len(full.data)-windowBytes:]...)
		next.data = next.data[:0]
	}
	z.ordered <- full
	go full.compress()
	z.current = next
}

func (b *block) compress() {
	b.out.Reset()
	b.deflate.ResetDict(&b.out, b.dict)
	_, _ = b.deflate.Write(b.data) // a bytes.Buffer takes all
	if b.last {
		_ = b.deflate.Close()
	} else {
		_ = b.deflate.Flush()
	}
	b.done <- struct{}{}
}

// emit writes the blocks in order. After a failure it goes on to receive them, so that nobody waits for it in vain, and
// so that all compressors have ended when it has.
func (z *gzipWriter) emit(w io.Writer) {
	defer close(z.ended)
	_, err := w.Write(gzipHeader)
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
		trailer := binary.LittleEndian.AppendUint32(nil, z.crc)
		_, z.err = w.Write(binary.LittleEndian.AppendUint32(trailer, z.size))
	}
}

func (z *gzipWriter) failure() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.err
}

// Close writes what is left and the trailer, and returns when all goroutines have ended.
func (z *gzipWriter) Close() error {
	if z.current != nil {
		z.submit(true)
		close(z.ordered)
	}
	<-z.ended
	return z.failure()
}
