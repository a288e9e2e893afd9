package droplet_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/deakit/deakit/droplet"
)

// A droplet is packed, looked at, brought into the faster format, and verified.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(filepath.Join(dir, "app"), 0o755); err != nil {
		log.Fatal(err)
	}
	info, err := droplet.StagingInfo{DetectedBuildpack: "Ruby", StartCommand: "rackup"}.Marshal()
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, droplet.InfoName), info, 0o644); err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()

	var packed bytes.Buffer
	fixed := droplet.PackOptions{ModTime: time.Date(2014, 2, 1, 0, 0, 0, 0, time.UTC)}
	digest, err := droplet.Pack(ctx, &packed, root, ".", fixed)
	if err != nil {
		log.Fatal(err)
	}
	found, err := droplet.Inspect(ctx, bytes.NewReader(packed.Bytes()), droplet.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.Format, found.Info.DetectedBuildpack, found.Info.StartCommand)

	var faster bytes.Buffer
	if _, err := droplet.Repack(ctx, &faster, bytes.NewReader(packed.Bytes()), droplet.PackOptions{Format: droplet.Zstd}); err != nil {
		log.Fatal(err)
	}
	all, err := droplet.Verify(ctx, bytes.NewReader(faster.Bytes()), droplet.VerifyOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(all.Format, all.Members, all.Digest.SHA1 != digest.SHA1)
	// Output:
	// gzip Ruby rackup
	// zstd 3 true
}
