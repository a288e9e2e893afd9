package tarball_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/deakit/deakit/internal/tarball"
)

func Example() {
	dir, err := os.MkdirTemp("", "tarball")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		panic(err)
	}
	defer root.Close()
	_ = root.Mkdir("from", 0o755)
	_ = root.WriteFile("from/hello", []byte("hello"), 0o644)
	_ = root.Symlink("/etc/passwd", "from/link")

	var archive bytes.Buffer
	ctx := context.Background()
	if err := tarball.Write(ctx, &archive, root, "from/", tarball.Options{}); err != nil {
		panic(err)
	}
	err = tarball.Extract(ctx, root, "to", &archive, tarball.ExtractOptions{})
	fmt.Println(errors.Is(err, tarball.ErrLink), err)
	// Output: true extract archive: archive member "link" refused: link leads out of the target directory (absolute target "/etc/passwd")
}
