package containertest

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/container"
)

var hostileTests = []test{
	{"Archives", testHostileArchives},
	{"PlantedLinks", testPlantedLinks},
	{"ReplacedHome", testReplacedHome},
	{"Unreadable", testUnreadable},
	{"Directory", testHostileDirectory},
}

func testHostileArchives(s *suite) {
	outside := s.hostDir()
	c := s.create(container.Spec{})
	for name, members := range map[string][]tar.Header{
		"parent":         {file("../escaped", 0o644)},
		"hidden parent":  {file("a/../../escaped", 0o644)},
		"absolute":       {file(outside+"/escaped", 0o644)},
		"through a link": {symlink("l", outside), file("l/escaped", 0o644)},
		"hard link":      {{Name: "escaped", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"device":         {{Name: "escaped", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5, Mode: 0o666}},
		"setuid":         {file("escaped", 0o4755)},
	} {
		dir := "/home/vcap/" + strings.ReplaceAll(name, " ", "-")
		if err := c.StreamIn(s.ctx, dir, "", archive(members...)); err == nil {
			s.Errorf("%s: the archive was accepted", name)
		}
		found := s.output(c, script(`find "$1" "$2" -name escaped`, s.info(c).Inside("/home"), s.info(c).Inside("/tmp")))
		equal(s, name+": found", found, "")
	}
	s.must(c.Destroy(s.ctx))
	s.empty(outside)
}

func (s *suite) empty(dir string) {
	s.Helper()
	entries, err := os.ReadDir(dir)
	s.must(err)
	if len(entries) > 0 {
		s.Errorf("%s holds %s", dir, entries[0].Name())
	}
}

// secretDir returns a directory of the host with a file "secret".
func (s *suite) secretDir() string {
	s.Helper()
	dir := s.hostDir()
	s.must(os.WriteFile(filepath.Join(dir, "secret"), []byte("the secret"), 0o644))
	return dir
}

// unharmed checks that nothing was added to the directory of the secret, or changed.
func (s *suite) unharmed(dir string) {
	s.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "secret"))
	s.must(err)
	equal(s, "secret", string(content), "the secret")
	s.must(os.Remove(filepath.Join(dir, "secret")))
	s.empty(dir)
}

// keepsSecret streams out and checks that the secret is not in it, whether that works or not.
func (s *suite) keepsSecret(c container.Container, p string) {
	s.Helper()
	stream, err := c.StreamOut(s.ctx, p)
	if err != nil {
		return
	}
	defer stream.Close()
	members, _ := readArchive(stream)
	for name, content := range members {
		if strings.Contains(content, "the secret") {
			s.Errorf("StreamOut of %s gave away the secret as %s", p, name)
		}
	}
}

func testPlantedLinks(s *suite) {
	outside := s.secretDir()
	c := s.create(container.Spec{})
	s.output(c, script(`ln -s "$1" dir; ln -s "$1/secret" file; ln -s ../../../../../../../.."$1" up; mkdir real; ln -s "$1" real/dir`, outside))
	for _, p := range []string{"dir", "dir/", "dir/secret", "file", "up/", "up/secret", "real", "real/", "real/dir/secret", ""} {
		s.keepsSecret(c, "/home/vcap/"+p)
	}
	for _, dir := range []string{"dir", "dir/sub", "up", "real/dir"} {
		// Whether it fails, or ends in a directory of the container, is the back end's choice.
		_ = c.StreamIn(s.ctx, "/home/vcap/"+dir, "", archive(file("secret", 0o644), file("new", 0o644)))
	}
	_ = c.StreamIn(s.ctx, "/home/vcap", "", archive(file("file", 0o644), file("dir/new", 0o644)))
	s.must(c.Destroy(s.ctx))
	s.unharmed(outside)
}

func testReplacedHome(s *suite) {
	outside := s.secretDir()
	c := s.create(container.Spec{})
	info := s.info(c)
	if s.run(c, script(`mv "$1" "$1.old" && ln -s "$2" "$1"`, info.Inside("/home/vcap"), outside)).status != 0 {
		s.output(c, script("true")) // it must not do that here, which is as good
		s.must(c.Destroy(s.ctx))
		s.unharmed(outside)
		return
	}
	for _, p := range []string{"/home/vcap", "/home/vcap/", "/home/vcap/secret"} {
		s.keepsSecret(c, p)
	}
	_ = c.StreamIn(s.ctx, "/home/vcap", "", archive(file("secret", 0o644), file("new", 0o644)))
	if _, err := c.Usage(s.ctx); err != nil {
		s.Error(err)
	}
	s.must(c.Destroy(s.ctx))
	s.unharmed(outside)
}

// testUnreadable leaves files that are in the way of being removed.
func testUnreadable(s *suite) {
	c := s.create(container.Spec{})
	s.output(c, script(`mkdir -p a/b/c; echo x >a/b/f; chmod 0 a/b/f a/b/c a/b a; i=0; d=deep; while [ $i -lt 60 ]; do d=$d/d; i=$((i+1)); done; mkdir -p $d`))
	if _, err := c.Usage(s.ctx); err != nil {
		s.Error(err)
	}
	s.must(c.Destroy(s.ctx))
}

// testHostileDirectory lets a working directory lead out of the container.
func testHostileDirectory(s *suite) {
	outside := s.secretDir()
	c := s.create(container.Spec{})
	s.output(c, script(`ln -s "$1" out`, outside))
	spec := script("cat secret")
	spec.Dir = "/home/vcap/out"
	var out safeBuffer
	p, err := c.Run(s.ctx, spec, container.IO{Stdout: &out})
	if err != nil {
		return
	}
	s.wait(p)
	equal(s, "output", out.String(), "")
}
