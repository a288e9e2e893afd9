// Package blobtest has archives and a store of blobs for the tests of what an agent installs and compiles.
package blobtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/spec"
)

// Files are names and contents. A name that ends in a slash is a directory, content that begins with "-> " a link.
type Files map[string]string

// Tar returns a plain archive in which each name has a prefix, "./" or "".
func Tar(t testing.TB, prefix string, files Files) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		hdr := &tar.Header{Name: prefix + name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(files[name]))}
		target, link := strings.CutPrefix(files[name], "-> ")
		switch {
		case strings.HasSuffix(prefix+name, "/"):
			hdr.Typeflag, hdr.Mode, hdr.Size = tar.TypeDir, 0o755, 0
		case link:
			hdr.Typeflag, hdr.Linkname, hdr.Size = tar.TypeSymlink, target, 0
		case strings.Contains(name, "bin/"):
			hdr.Mode = 0o755
		}
		if err := w.WriteHeader(hdr); err != nil {
			t.Fatal(err)
		}
		if hdr.Size > 0 {
			if _, err := io.WriteString(w, files[name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Tgz is Tar, compressed by gzip.
func Tgz(t testing.TB, prefix string, files Files) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(Tar(t, prefix, files)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Read returns the names and contents of an archive, plain or compressed by gzip, in their order.
func Read(t testing.TB, archive []byte) (names []string, files Files) {
	t.Helper()
	var in io.Reader = bytes.NewReader(archive)
	if bytes.HasPrefix(archive, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		in = z
	}
	files = Files{}
	for r := tar.NewReader(in); ; {
		hdr, err := r.Next()
		if err == io.EOF {
			return names, files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, hdr.Name)
		files[hdr.Name] = string(content)
	}
}

// Blobs is a store in memory. Its methods may be called from several goroutines at once.
type Blobs struct {
	Full error // if set, nothing more is stored

	mu        sync.Mutex
	blobs     map[string][]byte // by id or URL
	gets      []string
	forgotten []string
	headers   map[string]map[string]string // by URL
}

// Add stores a blob under an id, or a URL, and returns its SHA-1.
func (b *Blobs) Add(id string, data []byte) (sha1 string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blobs == nil {
		b.blobs = map[string][]byte{}
	}
	b.blobs[id] = data
	return must(digest.Of(bytes.NewReader(data), digest.SHA1)).String()
}

// Blob returns what is stored under an id or a URL, nil for nothing.
func (b *Blobs) Blob(id string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.blobs[id]
}

// Gets are the ids and URLs that were asked for since the last call.
func (b *Blobs) Gets() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	gets := b.gets
	b.gets = nil
	slices.Sort(gets)
	return gets
}

// Forgotten are the ids of Forget.
func (b *Blobs) Forgotten() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.forgotten)
}

// Headers are those that were sent to a URL last.
func (b *Blobs) Headers(url string) map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.headers[url]
}

// Get returns a blob whose digest is right.
func (b *Blobs) Get(ctx context.Context, s spec.Source) (io.ReadCloser, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	id := s.BlobID
	if s.URL != "" {
		id = s.URL
		b.sent(id, s.Headers)
	}
	b.gets = append(b.gets, id)
	data, ok := b.blobs[id]
	if !ok {
		return nil, fmt.Errorf("get blob %s: %s", id, http.StatusText(http.StatusNotFound))
	}
	if err := s.Digest.Verify(bytes.NewReader(data)); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (b *Blobs) sent(url string, headers map[string]string) {
	if b.headers == nil {
		b.headers = map[string]map[string]string{}
	}
	b.headers[url] = headers
}

// Forget takes note of the id.
func (b *Blobs) Forget(_ context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgotten = append(b.forgotten, id)
	return nil
}

// Put stores a blob under a new id.
func (b *Blobs) Put(_ context.Context, r io.ReadSeeker) (string, digest.Digest, error) {
	if b.Full != nil {
		return "", digest.Digest{}, b.Full
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return "", digest.Digest{}, err
	}
	b.mu.Lock()
	id := fmt.Sprintf("new-%d", len(b.blobs))
	b.mu.Unlock()
	b.Add(id, data)
	return id, must(digest.Of(bytes.NewReader(data), digest.SHA1)), nil
}

// PutSigned stores a blob under a URL.
func (b *Blobs) PutSigned(_ context.Context, url string, headers map[string]string, r io.ReadSeeker) (digest.Digest, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return digest.Digest{}, err
	}
	b.Add(url, data)
	b.mu.Lock()
	b.sent(url, headers)
	b.mu.Unlock()
	return must(digest.Of(bytes.NewReader(data), digest.SHA1, digest.SHA512)), nil
}

func must[T any](v T, err error) T {
	if err != nil { // memory can be read
		panic(err)
	}
	return v
}
