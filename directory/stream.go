package directory

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// markSize is how many of the bytes that were sent last are looked at again, in bytes.
const markSize = 64

// A stream is what a tail has sent of a file.
type stream struct {
	file     *os.File
	pos      int64  // the next byte to send
	size     int64  // of the file when last seen
	mark     []byte // what stands before pos: when it is no longer there, the file was written anew
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration // how long one write may take
}

// begin sends the header, also when there is nothing to send yet. The app writes the content: it must not be taken for a
// page of the domain.
func (t *stream) begin(ctx context.Context) error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	t.size = info.Size()
	if t.pos < 0 {
		t.pos = t.size
	}
	before := make([]byte, min(t.pos, markSize), markSize)
	if n, _ := t.file.ReadAt(before, t.pos-int64(len(before))); n == len(before) { // else the position is beyond the end
		t.mark = before
	}
	t.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	t.w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := t.allow(ctx); err != nil {
		return err
	}
	t.w.WriteHeader(http.StatusOK)
	return t.flush()
}

// allow gives the next write its time, unless ctx has ended.
func (t *stream) allow(ctx context.Context) error {
	_ = t.control.SetWriteDeadline(time.Now().Add(t.patience))
	return ctx.Err() // after the deadline, which must not undo the one that interrupts
}

// change goes on with the beginning of another file.
func (t *stream) change(file *os.File) {
	t.file, t.size = file, 0
	t.restart()
}

func (t *stream) restart() { t.pos, t.mark = 0, t.mark[:0] }

// copyNew sends what stands between the position and the present end of the file, and reports whether that was anything.
// It does not run after a writer: what is written meanwhile is left to the next call.
//
// A file that was truncated is sent from its new beginning. It need not be seen while it is short: what stood before the
// position is compared, so that one that has grown again is known for another.
func (t *stream) copyNew(ctx context.Context) (sent bool, err error) {
	info, err := t.file.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() < t.size {
		t.restart() // a position beyond the end that a client asked for is another matter
	}
	t.size = info.Size()
	if t.pos > t.size {
		return false, nil
	}
	buf := chunks.Get().(*[smallFile]byte)
	defer chunks.Put(buf)
	for {
		data, err := t.read(buf[:])
		if err != nil || len(data) == 0 {
			if err == nil && sent {
				err = t.flush()
			}
			return sent, err
		}
		if err := t.allow(ctx); err != nil {
			return sent, err
		}
		if _, err := t.w.Write(data); err != nil {
			return sent, err
		}
		t.advance(data)
		sent = true
	}
}

// read returns what comes next, up to the size that was seen, with buf for its memory; nothing at the end.
func (t *stream) read(buf []byte) ([]byte, error) {
	for {
		marked := len(t.mark)
		from := t.pos - int64(marked)
		n, err := t.file.ReadAt(buf[:max(0, min(int64(len(buf)), t.size-from))], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if n >= marked && bytes.Equal(buf[:marked], t.mark) {
			return buf[marked:n], nil
		}
		t.restart() // and there is no mark then
	}
}

// advance takes note of what was sent.
func (t *stream) advance(data []byte) {
	t.pos += int64(len(data))
	if len(data) >= markSize {
		t.mark = append(t.mark[:0], data[len(data)-markSize:]...)
		return
	}
	if surplus := len(t.mark) + len(data) - markSize; surplus > 0 {
		t.mark = append(t.mark[:0], t.mark[surplus:]...)
	}
	t.mark = append(t.mark, data...)
}

// flush lets data leave at once. A writer that cannot is none that a tail makes sense with, but it is no error.
func (t *stream) flush() error {
	if err := t.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
