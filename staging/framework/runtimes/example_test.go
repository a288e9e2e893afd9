package runtimes_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/staging/framework/runtimes"
)

func Example() {
	dir, err := os.MkdirTemp("", "runtimes-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ruby := filepath.Join(dir, "ruby") // on a real machine, that of the distribution
	if err := os.WriteFile(ruby, []byte("#!/bin/sh\necho 3.1.2\n"), 0o755); err != nil {
		fmt.Println(err)
		return
	}
	resolver := runtimes.Resolver{System: runtimes.Host{}, Catalogue: runtimes.Today()}
	asked := runtimes.Runtime{Name: "ruby19", Version: "1.9.3", Executable: ruby}
	found, err := resolver.Resolve(context.Background(), asked)
	fmt.Println(found.Canonical, found.Found, found.Executable == ruby, err)
	fmt.Println(found.Warnings[0])
	// Output:
	// ruby 3.1.2 true <nil>
	// The app asks for ruby19 1.9.3 and gets 3.1.2.
}
