package containertest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/container"
)

var fileTests = []test{
	{"RoundTrip", testRoundTrip},
	{"StreamOutNames", testStreamOutNames},
	{"StoppedContainer", testStreamsOfStopped},
	{"MissingPath", testMissingPath},
	{"EarlyClose", testEarlyClose},
	{"CancelledStreamIn", testCancelledStreamIn},
	{"CancelledStreamOut", testCancelledStreamOut},
	{"BindMounts", testBindMounts},
	{"OnHost", testOnHost},
}

// archive returns a tar stream of the members.
func archive(members ...tar.Header) io.Reader {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, hdr := range members {
		content := ""
		if hdr.Typeflag == tar.TypeReg {
			content = "content of " + hdr.Name
			hdr.Size = int64(len(content))
		}
		if err := w.WriteHeader(&hdr); err != nil {
			panic(err) // a mistake in the suite
		}
		_, _ = io.WriteString(w, content)
	}
	_ = w.Close()
	return &buf
}

func file(name string, mode int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode}
}

func folder(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}
}

// streamOut returns the members of what stands at p: the content of files, the target of links after "->", and "dir".
func (s *suite) streamOut(c container.Container, p string) map[string]string {
	s.Helper()
	stream, err := c.StreamOut(s.ctx, p)
	s.must(err)
	defer stream.Close()
	members, err := readArchive(stream)
	s.must(err)
	s.must(stream.Close())
	return members
}

func readArchive(stream io.Reader) (map[string]string, error) {
	members := map[string]string{}
	r := tar.NewReader(stream)
	for {
		hdr, err := r.Next()
		if err == io.EOF {
			return members, nil
		}
		if err != nil {
			return members, err
		}
		switch hdr.Typeflag {
		case tar.TypeDir:
			members[hdr.Name] = "dir"
		case tar.TypeSymlink:
			members[hdr.Name] = "->" + hdr.Linkname
		default:
			content, err := io.ReadAll(r)
			if err != nil {
				return members, err
			}
			members[hdr.Name] = string(content)
		}
	}
}

func (s *suite) sameMembers(got, want map[string]string) {
	s.Helper()
	if !maps.Equal(got, want) {
		s.Errorf("members\n got %q\nwant %q", got, want)
	}
}

func testRoundTrip(s *suite) {
	c := s.create(container.Spec{})
	s.must(c.StreamIn(s.ctx, "/home/vcap/new/app", "", archive(
		folder("./"), folder("./bin"), file("./bin/run", 0o755), file("data \xfc\n.txt", 0o600), symlink("link", "bin/run"),
		folder("empty"),
	)))
	// The app owns what was streamed in: it can execute, read, change and remove.
	app := s.info(c).Inside("/home/vcap/new/app")
	s.output(c, script(`cd "$1" && test -x bin/run && test ! -x data* && cat link >/dev/null && for f in data*; do echo x >>"$f"; done && mkdir empty/y && rm link`, app))
	s.must(c.StreamIn(s.ctx, "/home/vcap/new/app/", "", archive(file("./bin/run", 0o644), symlink("bin/self", "."))))

	s.sameMembers(s.streamOut(c, "/home/vcap/new/app/"), map[string]string{
		"./": "dir", "./bin/": "dir", "./bin/run": "content of ./bin/run", "./bin/self": "->.",
		"./data \xfc\n.txt": "content of data \xfc\n.txtx\n", "./empty/": "dir", "./empty/y/": "dir",
	})
}

func testStreamOutNames(s *suite) {
	c := s.create(container.Spec{})
	s.output(c, script("mkdir -p d/e && printf x >d/e/f && ln -s e d/l"))
	s.sameMembers(s.streamOut(c, "/home/vcap/d"), map[string]string{"d/": "dir", "d/e/": "dir", "d/e/f": "x", "d/l": "->e"})
	s.sameMembers(s.streamOut(c, "/home/vcap/d/"), map[string]string{"./": "dir", "./e/": "dir", "./e/f": "x", "./l": "->e"})
	s.sameMembers(s.streamOut(c, "/home/vcap/./d/../d/e/f"), map[string]string{"f": "x"})
}

func testStreamsOfStopped(s *suite) {
	c := s.create(container.Spec{})
	s.output(c, script("printf kept >file"))
	s.must(c.Stop(s.ctx, true))
	s.sameMembers(s.streamOut(c, "/home/vcap/file"), map[string]string{"file": "kept"})
	s.is(c.StreamIn(s.ctx, "/home/vcap", "", archive(file("x", 0o644))), container.ErrStopped)
}

func testMissingPath(s *suite) {
	c := s.create(container.Spec{})
	for _, p := range []string{"/home/vcap/missing", "/home/vcap/missing/"} {
		stream, err := c.StreamOut(s.ctx, p)
		if err != nil {
			continue
		}
		if members, err := readArchive(stream); err == nil {
			s.Errorf("%s: no error, members %q", p, members)
		}
		stream.Close()
	}
}

func testEarlyClose(s *suite) {
	c := s.create(container.Spec{})
	s.output(c, script("head -c 4194304 /dev/zero >big"))
	stream, err := c.StreamOut(s.ctx, "/home/vcap/big")
	s.must(err)
	_, err = io.ReadFull(stream, make([]byte, 1000))
	s.must(err)
	stream.Close() // its error, if any, tells that it was early
	s.must(c.Destroy(s.ctx))
}

// endless is a reader of an archive with one member that never ends; it cancels on the way.
type endless struct {
	left   int
	head   io.Reader
	cancel func()
}

func (e *endless) Read(p []byte) (int, error) {
	if n, err := e.head.Read(p); err == nil {
		return n, nil
	}
	if e.left--; e.left == 0 {
		e.cancel()
	}
	clear(p)
	return len(p), nil
}

func testCancelledStreamIn(s *suite) {
	c := s.create(container.Spec{})
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var head bytes.Buffer
	s.must(tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "huge", Typeflag: tar.TypeReg, Mode: 0o644, Size: 1 << 31}))
	err := c.StreamIn(ctx, "/home/vcap", "", &endless{left: 20, head: &head, cancel: cancel})
	s.is(err, context.Canceled)
	s.must(c.Destroy(s.ctx))
}

func testCancelledStreamOut(s *suite) {
	c := s.create(container.Spec{})
	s.output(c, script("head -c 8388608 /dev/zero >big"))
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stream, err := c.StreamOut(ctx, "/home/vcap/big")
	s.must(err)
	defer stream.Close()
	_, err = io.ReadFull(stream, make([]byte, 1000))
	s.must(err)
	cancel()
	if n, err := io.Copy(io.Discard, stream); err == nil {
		s.Errorf("the stream went on to its end, %d bytes", n)
	}
	_, err = c.StreamOut(ctx, "/home/vcap/big")
	s.is(err, context.Canceled)
}

func testBindMounts(s *suite) {
	readable, writable := s.hostDir(), s.hostDir()
	s.must(os.WriteFile(filepath.Join(readable, "in"), []byte("from outside"), 0o644))
	c := s.create(container.Spec{BindMounts: []container.BindMount{
		{Src: readable, Dst: "/var/vcap/ro"},
		{Src: writable, Dst: "/var/vcap/rw", Writable: true},
		{Src: filepath.Join(readable, "in"), Dst: "/etc/one-file"},
		{Src: readable}, // at the same path
	}})
	info := s.info(c)
	for _, p := range []string{"/var/vcap/ro/in", "/etc/one-file", filepath.Join(readable, "in")} {
		equal(s, p, s.output(c, script(`cat "$1"`, info.Inside(p))), "from outside")
	}
	s.output(c, script(`echo x >"$1"`, info.Inside("/var/vcap/rw/out")))
	if content, err := os.ReadFile(filepath.Join(writable, "out")); err != nil || string(content) != "x\n" {
		s.Errorf("written through a bind mount: %q, %v", content, err)
	}
	if s.caps.ReadOnlyMounts {
		r := s.run(c, script(`echo x >"$1"`, info.Inside("/var/vcap/ro/in")))
		if r.status == 0 {
			s.Error("a read-only bind mount was written to")
		}
	}
	spec := script("cat in")
	spec.Dir = "/var/vcap/ro"
	equal(s, "from the mount as directory", s.output(c, spec), "from outside")
	if err := c.StreamIn(s.ctx, "/var/vcap/ro", "", archive(file("new", 0o644))); err == nil {
		s.Error("a stream went into a read-only bind mount")
	}
	s.must(c.Destroy(s.ctx))
	for _, kept := range []string{filepath.Join(readable, "in"), filepath.Join(writable, "out")} {
		if _, err := os.Stat(kept); err != nil {
			s.Errorf("Destroy went through a bind mount: %v", err)
		}
	}
	for _, bad := range []container.BindMount{{Src: "relative", Dst: "/x"}, {Src: readable, Dst: "relative"}, {}} {
		if _, err := s.tryCreate(container.Spec{BindMounts: []container.BindMount{bad}}); !errors.Is(err, container.ErrInvalid) {
			s.Errorf("bind mount %+v: error %v, want %q", bad, err, container.ErrInvalid)
		}
	}
}

func testOnHost(s *suite) {
	c := s.create(container.Spec{})
	s.output(c, script("printf seen >file"))
	info := s.info(c)
	host, ok := info.OnHost("/home/vcap/file")
	if !ok {
		equal(s, "path", info.Path, "")
		return
	}
	content, err := os.ReadFile(host)
	s.must(err)
	equal(s, "content on the host", string(content), "seen")
	if !strings.HasPrefix(host, info.Path+"/") {
		s.Errorf("%s does not lie in %s", host, info.Path)
	}
}
