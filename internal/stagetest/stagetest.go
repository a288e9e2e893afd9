// Package stagetest makes buildpacks, app packages and containers for tests of staging.
package stagetest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
)

// Files are the contents of files by name. Names below a bin/ are programs; "name -> target" is a symbolic link.
type Files map[string]string

// Scripts returns the files of a buildpack with the given bodies of its shell scripts; an empty one is left out.
func Scripts(detect, compile, release string) Files {
	files := Files{}
	for name, body := range map[string]string{"bin/detect": detect, "bin/compile": compile, "bin/release": release} {
		if body != "" {
			files[name] = "#!/bin/sh\n" + body + "\n"
		}
	}
	return files
}

func (f Files) each(visit func(name, content string, mode fs.FileMode)) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		link, target, isLink := strings.Cut(name, " -> ")
		switch {
		case isLink:
			visit(link, target, fs.ModeSymlink|0o777)
		case strings.Contains("/"+name, "/bin/"):
			visit(name, f[name], 0o755)
		default:
			visit(name, f[name], 0o640)
		}
	}
}

// Write writes the files below dir.
func (f Files) Write(t testing.TB, dir string) {
	t.Helper()
	f.each(func(name, content string, mode fs.FileMode) {
		name = filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil && mode.Type() == fs.ModeSymlink {
			err = os.Symlink(content, name)
		} else if err == nil {
			err = os.WriteFile(name, []byte(content), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// Dir returns a directory that holds the files.
func (f Files) Dir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	f.Write(t, dir)
	return dir
}

// Zip returns a zip file of the files.
func (f Files) Zip(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	f.each(func(name, content string, mode fs.FileMode) {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(mode)
		w, err := z.CreateHeader(header)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Tgz returns a gzip-compressed tar file of the files.
func (f Files) Tgz(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	archive := tar.NewWriter(z)
	f.each(func(name, content string, mode fs.FileMode) {
		header := &tar.Header{Name: name, Mode: int64(mode.Perm()), Typeflag: tar.TypeReg, Size: int64(len(content))}
		if mode.Type() == fs.ModeSymlink {
			header.Typeflag, header.Linkname, header.Size, content = tar.TypeSymlink, content, 0, ""
		}
		err := archive.WriteHeader(header)
		if err == nil {
			_, err = io.WriteString(archive, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if err := errors.Join(archive.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Save writes data to a new file and returns its path.
func Save(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// ReadTgz returns the content of the members of a gzip-compressed tar file by name; that of a link is "-> target".
func ReadTgz(t testing.TB, data []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return readTar(t, z)
}

// ReadTar returns what stands at p in a container as ReadTgz does.
func ReadTar(t testing.TB, c container.Container, p string) map[string]string {
	t.Helper()
	stream, err := c.StreamOut(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	return readTar(t, stream)
}

func readTar(t testing.TB, r io.Reader) map[string]string {
	t.Helper()
	members := map[string]string{}
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return members
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeSymlink {
			content = []byte("-> " + header.Linkname)
		}
		members[header.Name] = string(content)
	}
}

// Backend returns a back end of plain processes that ends with the test.
func Backend(t testing.TB) *process.Backend {
	t.Helper()
	backend, err := process.New(process.Options{Depot: t.TempDir(), WatchInterval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := backend.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return backend
}

// Container returns a container that ends with the test.
func Container(t testing.TB, spec container.Spec) container.Container {
	t.Helper()
	c, err := Backend(t).Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
