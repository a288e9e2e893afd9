package containertest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/deakit/deakit/container"
)

var ioTests = []test{
	{"Streams", testStreams},
	{"Binary", testBinary},
	{"OneWriter", testOneWriter},
	{"SlowReader", testSlowReader},
	{"FailingWriter", testFailingWriter},
	{"UnreadInput", testUnreadInput},
	{"InheritedOutput", testInheritedOutput},
	{"Attach", testAttach},
}

func testStreams(s *suite) {
	c := s.create(container.Spec{})
	r := s.run(c, script("echo a; echo b >&2; cat; exit 3"))
	equal(s, "result", r, result{"a\n", "b\n", 3})
}

// testBinary sends every byte value, in more than pipes and buffers hold, to a process and back.
func testBinary(s *suite) {
	c := s.create(container.Spec{})
	data := make([]byte, 3<<20+7)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(data) // never fails
	for i := range 256 {
		data[i] = byte(i)
	}
	if s.cfg.Tolerances.TextOnly {
		p, err := c.Run(s.ctx, container.ProcessSpec{Path: "cat"}, container.IO{Stdin: bytes.NewReader(data)})
		s.must(err)
		_, err = p.Wait(s.ctx)
		s.is(err, container.ErrUnsupported)
		data = []byte(strings.Repeat("aé€😀\x00", len(data)/11)) // characters of every length, cut at every place
	}
	var out bytes.Buffer
	p, err := c.Run(s.ctx, container.ProcessSpec{Path: "cat"}, container.IO{Stdin: bytes.NewReader(data), Stdout: &out})
	s.must(err)
	equal(s, "exit status", s.wait(p), 0)
	if !bytes.Equal(out.Bytes(), data) {
		s.Errorf("%d bytes came back changed, %d were sent", out.Len(), len(data))
	}
}

// testOneWriter would fail under the race detector if two goroutines wrote at a time.
func testOneWriter(s *suite) {
	c := s.create(container.Spec{})
	var both bytes.Buffer
	loop := "i=0; while [ $i -lt 500 ]; do echo 1; echo 2 >&2; i=$((i+1)); done"
	p, err := c.Run(s.ctx, script(loop), container.IO{Stdout: &both, Stderr: &both})
	s.must(err)
	equal(s, "exit status", s.wait(p), 0)
	equal(s, "lines of stdout", strings.Count(both.String(), "1\n"), 500)
	equal(s, "lines of stderr", strings.Count(both.String(), "2\n"), 500)
}

func testSlowReader(s *suite) {
	c := s.create(container.Spec{})
	r, w := io.Pipe()
	const size = 2 << 20
	p, err := c.Run(s.ctx, script("head -c 2097152 /dev/zero"), container.IO{Stdout: w})
	s.must(err)
	n, piece := 0, make([]byte, 700)
	for n < size {
		m, err := r.Read(piece)
		s.must(err)
		n += m
	}
	equal(s, "exit status", s.wait(p), 0)
	equal(s, "bytes", n, size)
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("the reader has gone") }

func testFailingWriter(s *suite) {
	c := s.create(container.Spec{})
	p, err := c.Run(s.ctx, script("head -c 2097152 /dev/zero && exit 4"), container.IO{Stdout: failingWriter{}})
	s.must(err)
	equal(s, "exit status", s.wait(p), 4)
}

func testUnreadInput(s *suite) {
	c := s.create(container.Spec{})
	p, err := c.Run(s.ctx, script("exit 6"), container.IO{Stdin: bytes.NewReader(make([]byte, 1<<20))})
	s.must(err)
	equal(s, "exit status", s.wait(p), 6)
}

// testInheritedOutput lets a process end while another one keeps its output open.
func testInheritedOutput(s *suite) {
	c, num := s.create(container.Spec{}), token()
	var out safeBuffer
	waits := "(while kill -0 $$ 2>/dev/null; do sleep 0.01; done; exec sleep " + num + ")" // appears when the shell has ended
	p, err := c.Run(s.ctx, script(waits+" & echo done; exit 2"), container.IO{Stdout: &out})
	s.must(err)
	s.appears(num, 1)
	s.must(c.Stop(s.ctx, true))
	equal(s, "exit status", s.wait(p), 2)
	equal(s, "output", out.String(), "done\n")
	s.gone(num)
}

func testAttach(s *suite) {
	c := s.create(container.Spec{})
	stdin, feed := io.Pipe()
	defer feed.Close()
	var first, second safeBuffer
	p, err := c.Run(s.ctx, script("while read l; do echo $l; done; exit 8"), container.IO{Stdin: stdin, Stdout: &first})
	s.must(err)
	_, err = feed.Write([]byte("one\n"))
	s.must(err)
	s.eventually("first line", func() bool { return first.String() == "one\n" })

	again, err := c.Attach(s.ctx, p.ID(), container.IO{Stdout: &second})
	s.must(err)
	equal(s, "id", again.ID(), p.ID())
	_, err = feed.Write([]byte("two\n"))
	s.must(err)
	s.must(feed.Close())
	equal(s, "exit status", s.wait(again), 8)
	equal(s, "exit status", s.wait(p), 8)
	equal(s, "output", first.String(), "one\ntwo\n")
	want := "two\n"
	if s.caps.ReplaysOutput {
		want = "one\ntwo\n"
	}
	equal(s, "output of the second", second.String(), want)

	ended, err := c.Attach(s.ctx, p.ID(), container.IO{})
	s.must(err)
	equal(s, "exit status of an ended one", s.wait(ended), 8)
	_, err = c.Attach(s.ctx, p.ID()+100, container.IO{})
	s.is(err, container.ErrNotFound)
}
