package oci_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/oci"
)

// A droplet becomes an image layout, as "skopeo copy oci:DIR:v1 docker://..." reads it, and a droplet again.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	source, layout := subdirectory(dir, "source"), subdirectory(dir, "layout")
	defer source.Close()
	defer layout.Close()
	if err := source.Mkdir("app", 0o755); err != nil {
		log.Fatal(err)
	}
	if err := source.WriteFile(droplet.InfoName, []byte("start_command: rackup\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	var packed bytes.Buffer
	digest, err := droplet.Pack(ctx, &packed, source, ".", droplet.PackOptions{})
	if err != nil {
		log.Fatal(err)
	}

	if _, err := oci.Export(ctx, oci.Dir(layout), bytes.NewReader(packed.Bytes()), oci.Options{Ref: "v1"}); err != nil {
		log.Fatal(err)
	}
	image, err := oci.OpenDir(layout, oci.OpenOptions{Ref: "v1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(image.Config().Config.Cmd, image.Config().Config.WorkingDir)
	again, err := image.Droplet(ctx, io.Discard, oci.ImportOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again == digest)
	// Output:
	// [rackup] /home/vcap/app
	// true
}

func subdirectory(dir, name string) *os.Root {
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, name))
	if err != nil {
		log.Fatal(err)
	}
	return root
}
