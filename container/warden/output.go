package warden

import (
	"context"
	"errors"
	"sync"
)

// errFull ends the copying of output.
var errFull = errors.New(textOutputLimit)

// An output keeps what a job writes, up to a limit.
type output struct {
	limit int
	full  chan struct{} // closed when the limit was exceeded

	mu      sync.Mutex
	kept    [2][]byte // standard output, standard error
	over    bool
	ended   bool
	changed chan struct{} // closed, and replaced, when there is more
}

const (
	stdout = 0
	stderr = 1
)

var streamNames = [2]string{"stdout", "stderr"}

func newOutput(limit int) *output {
	return &output{limit: limit, full: make(chan struct{}), changed: make(chan struct{})}
}

// A stream is the writer of one of the two.
type stream struct {
	*output
	which int
}

// Write keeps p as far as there is room.
func (s stream) Write(p []byte) (int, error) {
	o := s.output
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return 0, errFull
	}
	fits := min(len(p), o.limit-len(o.kept[stdout])-len(o.kept[stderr]))
	o.kept[s.which] = append(o.kept[s.which], p[:fits]...)
	o.tell()
	if fits < len(p) {
		o.over = true
		close(o.full)
		return fits, errFull
	}
	return fits, nil
}

// tell wakes those who wait for more. o.mu is held.
func (o *output) tell() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *output) exceeded() bool {
	select {
	case <-o.full:
		return true
	default:
		return false
	}
}

// end says that nothing comes any more.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.tell()
}

// all returns what was kept. It is not changed once the job has ended.
func (o *output) all() (out, errs []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept[stdout], o.kept[stderr]
}

// follow hands over all output from the beginning, in the order in which it came as far as there are no two of one
// stream in a row, until the job has ended. It returns the error of ctx or of deliver.
func (o *output) follow(ctx context.Context, deliver func(which int, data []byte) error) error {
	var told [2]int
	for {
		o.mu.Lock()
		kept, ended, changed := o.kept, o.ended, o.changed
		o.mu.Unlock()
		for which, data := range kept {
			if more := data[told[which]:]; len(more) > 0 {
				if err := deliver(which, more); err != nil {
					return err
				}
				told[which] = len(data)
			}
		}
		if ended {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
