package directory_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/directory"
)

// instances is the registry of a DEA with one instance and no staging tasks.
type instances map[string]string

func (i instances) Instance(_ context.Context, id string) (directory.Tree, error) {
	dir, ok := i[id]
	if !ok {
		return directory.Tree{}, directory.ErrUnknown
	}
	return directory.Tree{Dir: dir}, nil
}

func (instances) StagingTask(context.Context, string) (directory.Tree, error) {
	return directory.Tree{}, directory.ErrUnknown
}

// A directory server in the process that knows the instances: sign a URL, hand it out, serve it.
func Example() {
	home, err := os.MkdirTemp("", "instance")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(home)
	if err := os.WriteFile(filepath.Join(home, "stdout.log"), []byte("hello\n"), 0o600); err != nil {
		log.Fatal(err)
	}

	signer, err := directory.NewSigner(directory.SignerConfig{}) // a random key
	if err != nil {
		log.Fatal(err)
	}
	server, err := directory.NewServer(directory.Config{
		Resolver: directory.NewLocal(signer, instances{"2a5e8c1f": home}),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	host := httptest.NewServer(server)
	defer host.Close()

	for _, path := range []string{"/", "/stdout.log", "/../secret"} {
		resp, err := http.Get(signer.InstanceURL(host.URL, "2a5e8c1f", &path))
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode, string(body))
	}
	// Output:
	// 200 stdout.log                                  6B
	//
	// 200 hello
	//
	// 403 {"error":"Not accessible"}
}

// One directory, for whoever has a URL of it.
func ExampleStatic() {
	dir, err := os.MkdirTemp("", "reports")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "today.txt"), []byte("all is well\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	signer, err := directory.NewSigner(directory.SignerConfig{})
	if err != nil {
		log.Fatal(err)
	}
	server, err := directory.NewServer(directory.Config{Resolver: directory.Static(signer, directory.Tree{Dir: dir})})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	host := httptest.NewServer(server)
	defer host.Close()

	path := "/today.txt"
	resp, err := http.Get(host.URL + signer.SignedPath("/reports", &path))
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(body))
	// Output: all is well
}
