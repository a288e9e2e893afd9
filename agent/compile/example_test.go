package compile_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"os"

	"github.com/deakit/deakit/agent/compile"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/spec"
)

// blobs has one source and tells about what is stored.
type blobs []byte

func (b blobs) Get(_ context.Context, s spec.Source) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b)), s.Digest.Verify(bytes.NewReader(b))
}

func (blobs) Put(_ context.Context, r io.ReadSeeker) (string, digest.Digest, error) {
	for t := tar.NewReader(r); ; {
		hdr, err := t.Next()
		if err != nil {
			return "blob-1", digest.Digest{}, nil
		}
		fmt.Println("stored", hdr.Name)
	}
}

func (blobs) PutSigned(context.Context, string, map[string]string, io.ReadSeeker) (digest.Digest, error) {
	return digest.Digest{}, nil
}

func Example() {
	var source bytes.Buffer
	t := tar.NewWriter(&source)
	const text = `echo hello >"$BOSH_INSTALL_TARGET/greeting"`
	_ = t.WriteHeader(&tar.Header{Name: "packaging", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))})
	_, _ = t.Write([]byte(text))
	_ = t.Close()

	base, err := os.MkdirTemp("", "vcap")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(base)
	compiler, err := compile.New(compile.Config{Base: base, Blobs: blobs(source.Bytes()), MaxUsed: -1})
	if err != nil {
		panic(err)
	}
	result, err := compiler.Compile(context.Background(), "source", fmt.Sprintf("%x", sha1.Sum(source.Bytes())), "hello", "1", nil)
	fmt.Println(result.Compiled.BlobID, err)
	// Output:
	// stored ./
	// stored ./greeting
	// blob-1 <nil>
}
