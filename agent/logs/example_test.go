package logs_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/agent/logs"
)

func Example() {
	base, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(base)
	for _, name := range []string{"nats/nats.stdout.log", "nats/nats.stderr.log", "web/web.log"} {
		name = filepath.Join(base, "sys/log", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			fmt.Println(err)
		}
		if err := os.WriteFile(name, []byte("a line\n"), 0o600); err != nil {
			fmt.Println(err)
		}
	}
	result, err := logs.Write(context.Background(), io.Discard, logs.Config{Base: base}, []logs.Type{logs.Job}, []string{"nats/*.log"})
	fmt.Println(result.Files, result.Bytes, err)
	// Output: 2 14 <nil>
}
