package tarball_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/deakit/deakit/internal/tarball"
)

// FuzzExtract reads arbitrary bytes as an archive.
func FuzzExtract(f *testing.F) {
	f.Add(archive(f, dir("./", 0o755), file("./a/b", "content", 0o644), link(tar.TypeSymlink, "l", "a/b")))
	f.Add(archive(f, file("a", "content", 0o644), link(tar.TypeLink, "l", "a"), file(strings.Repeat("n", 300), "", 0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newSandbox(t)
		_ = s.extract(data, tarball.ExtractOptions{Limits: tarball.Limits{MaxBytes: 1 << 20, MaxMembers: 100}})
		s.checkConfined(t)
	})
}

// FuzzExtractMembers makes archives with valid headers from lines of "<type> <octal mode> <name> <target>".
func FuzzExtractMembers(f *testing.F) {
	f.Add("5 755 d -\n2 777 d/l ..\n0 644 d/l/x -\n1 644 h d/l/x")
	f.Add("2 777 a/b/l ../..\n2 777 m a/b/l/..\n0 644 m/outside -\n1 644 k m/outside")
	f.Add("5 000 d -\n0 4755 d/x -\n2 777 d .\n5 755 d -\n0 0 d/../x -")
	f.Fuzz(func(t *testing.T, script string) {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for line := range strings.Lines(script) {
			var hdr tar.Header
			if n, _ := fmt.Sscanf(line, "%c %o %s %s", &hdr.Typeflag, &hdr.Mode, &hdr.Name, &hdr.Linkname); n == 4 {
				_ = w.WriteHeader(&hdr)
			}
		}
		_ = w.Close()
		s := newSandbox(t)
		_ = s.extract(out.Bytes(), tarball.ExtractOptions{Limits: tarball.Limits{MaxMembers: 100}})
		s.checkConfined(t)
	})
}
