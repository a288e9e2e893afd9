package containerkit

import (
	"context"
	"io"
	"os"

	"github.com/deakit/deakit/internal/tarball"
)

// StreamOut returns the tar stream of what stands at name below root, and what is to produce it in a goroutine of its own,
// which closes root. The stream ends early, with its cause, when ctx or outer does; its Close ends the goroutine, and waits for that.
func StreamOut(ctx, outer context.Context, root *os.Root, name string, opts tarball.Options) (stream io.ReadCloser, produce func()) {
	ctx, done := Within(ctx, outer)
	r, w := io.Pipe()
	s := &outStream{PipeReader: r, ended: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	return s, func() {
		defer close(s.ended)
		defer done()
		defer root.Close()
		defer stop()
		err := tarball.Write(ctx, w, root, name, opts)
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause // whichever of them came first
		}
		w.CloseWithError(err)
	}
}

type outStream struct {
	*io.PipeReader
	ended chan struct{}
}

func (s *outStream) Close() error {
	err := s.PipeReader.Close()
	<-s.ended
	return err
}
