package certs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/agent/certs"
)

func Example() {
	root, err := os.MkdirTemp("", "root")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(root)
	store, err := certs.New(certs.Config{Root: root})
	if err != nil {
		panic(err)
	}
	if err := store.Set(context.Background(), "-----BEGIN CERTIFICATE-----\nQUFB\n-----END CERTIFICATE-----\n"); err != nil {
		panic(err)
	}
	names, err := filepath.Glob(filepath.Join(root, "usr/local/share/ca-certificates/*"))
	fmt.Println(filepath.Base(names[0]), err)
	// Output: bosh-trusted-cert-1.crt <nil>
}
