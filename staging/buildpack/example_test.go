package buildpack_test

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/staging/buildpack"
)

func Example() {
	dir, err := os.MkdirTemp("", "buildpacks-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := buildpack.OpenStore(dir, buildpack.StoreOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	// In real life the zip file comes from a server, or from buildpack.File.
	download := func(_ context.Context, w io.Writer) error {
		archive := zip.NewWriter(w)
		for _, name := range []string{"bin/detect", "bin/compile", "bin/release"} {
			header := &zip.FileHeader{Name: name}
			header.SetMode(0o755)
			if _, err := archive.CreateHeader(header); err != nil {
				return err
			}
		}
		return archive.Close()
	}
	ref, err := store.Get(context.Background(), "static_0f3c", download)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ref.Release()

	bp, err := ref.Buildpack()
	if err != nil {
		fmt.Println(err)
		return
	}
	rel, _ := filepath.Rel(dir, bp.Path())
	fmt.Println(bp.Key(), "stands in", rel, "and mounts", len(bp.Mounts()), "directory")
	// Output: static_0f3c stands in static_0f3c and mounts 1 directory
}

// ExampleParseSource reads what a person has typed. What may be shown of it has no password.
func ExampleParseSource() {
	for _, text := range []string{
		"https://user:secret@host.example/org/bp.git#v1.2",
		"https://host.example/bp.tgz#sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709",
	} {
		source, err := buildpack.ParseSource(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(source.Kind, source)
	}
	// Output:
	// git https://host.example/org/bp.git#v1.2
	// archive URL https://host.example/bp.tgz#sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709
}
