package blobstore_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/deakit/deakit/agent/blobstore"
)

func Example() {
	dir, err := os.MkdirTemp("", "blobs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store, err := blobstore.Open("local", map[string]any{"blobstore_path": dir}, blobstore.Environment{})
	if err != nil {
		panic(err)
	}
	client, err := blobstore.NewClient(blobstore.Config{Store: store})
	if err != nil {
		panic(err)
	}

	id, digest, err := client.Put(ctx, strings.NewReader("a package"))
	if err != nil {
		panic(err)
	}
	fmt.Println(digest)
	file, err := client.Get(ctx, id, digest)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	content, _ := io.ReadAll(file)
	fmt.Println(string(content))
	// Output:
	// ebe47ba6162372448ad242a81cde8f80722b57fb
	// a package
}
